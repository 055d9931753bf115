// Attention of one query a row over what a cache holds, vectors or codes, in one pass over it.
//
// Codes become numbers in registers; scales multiply scores and weights, never vectors. A softmax is accumulated tile by
// tile (Milakov and Gimelshein 2018, arXiv 1805.02867), and the stretches of a head that several threads took are merged.
//
// NUMBER is the type of queries and of the answer, KEYS and VALUES are what K and V are kept as, D their head_dim.

#include <limits>
#include <vector>

constexpr int TILE = 128;  // tokens whose scores are held at a time
constexpr int AHEAD = 4096;

// Where a side of a layer lies, and how far a row, a head and a token are from the next; codes have parts beside them,
// one number a token, which lie as `part_row` and `part_head` say.
struct Place {
    const void *vectors, *scales, *minima;
    int64_t row, head, token, part_row, part_head;
};

struct half {
    uint16_t bits;
};
static inline Floats load(const half* p) {
    const Words bits = Words(integers(&p->bits));
    Words magnitude = (bits & 0x7fff) << 13, sign = (bits & 0x8000) << 16;
    Words finite;
    Floats scaled = floats(magnitude) * 0x1p112f;  // the exponent's bias; subnormal numbers become normal
    std::memcpy(&finite, &scaled, sizeof finite);
    return floats(((bits & 0x7c00) == 0x7c00 ? magnitude | 0x7f800000 : finite) | sign);
}

// Vectors as they are.
template <class T>
struct Plain {
    static constexpr bool CODED = false;
    const T* vectors;
    int64_t token;
    Plain(const Place& at, int64_t row, int64_t head)
        : vectors(static_cast<const T*>(at.vectors) + row * at.row + head * at.head), token(at.token) {}
    const char* line(int64_t s) const { return reinterpret_cast<const char*>(vectors + s * token); }
    Floats part(int64_t s, int i) const { return load(vectors + s * token + i * LANES); }
    void factors(int64_t, int64_t, Floats&, Floats&) const {}
};

struct fp8 {  // e4m3, whose unit is a sixteenth of the scale
    uint8_t bits;
};
static inline Floats load(const fp8* p) {
    const Words bits = Words(integers(&p->bits)), magnitude = bits & 0x7f;
    const Floats scaled = floats(magnitude << 20) * 0x1p116f;  // the exponent's bias, and the unit
    Words finite;
    std::memcpy(&finite, &scaled, sizeof finite);
    return floats((magnitude == 0x7f ? Words{} + 0x7fc00000 : finite) | (bits & 0x80) << 24);
}

// Codes of eight bits and a scale a token.
template <class C>
struct Scaled {
    static constexpr bool CODED = true;
    const C* codes;
    const half* scales;
    int64_t token;
    Scaled(const Place& at, int64_t row, int64_t head)
        : codes(static_cast<const C*>(at.vectors) + row * at.row + head * at.head),
          scales(static_cast<const half*>(at.scales) + row * at.part_row + head * at.part_head),
          token(at.token) {}
    const char* line(int64_t s) const { return reinterpret_cast<const char*>(codes + s * token); }
    Floats part(int64_t s, int i) const { return load(codes + s * token + i * LANES); }
    void factors(int64_t s, int64_t count, Floats& scale, Floats& middle) const {
        scale = load(scales + s, count);
        middle = Floats{};
    }
};

// Codes of four bits, less 8, with a scale and a minimum a token: the first half of a vector in the low bits.
struct Int4 {
    static constexpr bool CODED = true;
    static constexpr int MIDDLE = 8;
    const uint8_t* codes;
    const half *scales, *minima;
    int64_t token;
    Int4(const Place& at, int64_t row, int64_t head)
        : codes(static_cast<const uint8_t*>(at.vectors) + row * at.row + head * at.head),
          scales(static_cast<const half*>(at.scales) + row * at.part_row + head * at.part_head),
          minima(static_cast<const half*>(at.minima) + row * at.part_row + head * at.part_head),
          token(at.token) {}
    const char* line(int64_t s) const { return reinterpret_cast<const char*>(codes + s * token); }
    Floats part(int64_t s, int i) const {
        constexpr int HALF = D / LANES / 2;
        const Integers bytes = integers(codes + s * token + (i < HALF ? i : i - HALF) * LANES);
        return __builtin_convertvector((i < HALF ? bytes & 15 : bytes >> 4) - MIDDLE, Floats);
    }
    void factors(int64_t s, int64_t count, Floats& scale, Floats& middle) const {
        scale = load(scales + s, count);
        middle = load(minima + s, count) + float(MIDDLE) * scale;
    }
};

constexpr int PARTS = D / LANES;

// What a stretch of tokens gives one query: its largest score, the sum of its weights, and the weighted sum of values.
struct Answer {
    float top = -std::numeric_limits<float>::infinity(), total = 0;
    Floats sums[PARTS] = {};

    void fade(float peak) {
        const float by = top == peak ? 1 : exponential(Floats{} + (top - peak))[0];
        for (Floats& one : sums) one *= by;
        total *= by;
        top = peak;
    }
};

template <class K, class V>
static void tile(const Floats* q, float q_sum, const K& keys, const V& values, int64_t begin, int64_t count, Answer& answer) {
    float scores[TILE + LANES];
    for (int64_t t = 0; t < count; t++) {
        Floats dots = {};
        for (int i = 0; i < PARTS; i++) dots += q[i] * keys.part(begin + t, i);
        __builtin_prefetch(keys.line(begin + t) + AHEAD, 0, 2);
        scores[t] = sum(dots);
    }
    float peak = answer.top;
    for (int64_t t = 0; t < count; t += LANES) {
        Floats s = load(scores + t), scale, middle;
        if (K::CODED) {
            keys.factors(begin + t, count - t, scale, middle);
            store(scores + t, s = s * scale + q_sum * middle);
        }
        for (int64_t i = 0; i < std::min<int64_t>(LANES, count - t); i++) peak = s[i] > peak ? s[i] : peak;
    }
    answer.fade(peak);
    Floats totals = {}, middles = {};
    for (int64_t t = 0; t < count; t += LANES) {
        Floats w = exponential(load(scores + t) - peak), scale, middle;
        for (int64_t i = count - t; i < LANES; i++) w[i] = 0;
        totals += w;
        if (V::CODED) {
            values.factors(begin + t, count - t, scale, middle);
            middles += w * middle;
            w *= scale;
        }
        store(scores + t, w);
    }
    answer.total += sum(totals);
    const float middle = V::CODED ? sum(middles) : 0;
    for (Floats& one : answer.sums) one += middle;
    for (int64_t t = 0; t < count; t++) {
        const Floats w = Floats{} + scores[t];
        for (int i = 0; i < PARTS; i++) answer.sums[i] += w * values.part(begin + t, i);
        __builtin_prefetch(values.line(begin + t) + AHEAD, 0, 2);
    }
}

// q and out (B, heads * groups, D), all in one stretch; `heads` of keys, each for `groups` queries side by side.
extern "C" void attend(
    int threads, int64_t B, int64_t heads, int64_t groups, int64_t tokens, const NUMBER* q, float factor, const Place* keys,
    const Place* values, NUMBER* out) {
    const int64_t of = B * heads, cuts = std::max<int64_t>(1, std::min(tokens / TILE, (2 * threads + of - 1) / of));
    static thread_local std::vector<Answer> kept;
    kept.assign(of * groups * cuts, Answer{});
    Answer* answers = kept.data();
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t item = 0; item < of * cuts; item++) {
        const int64_t one = item / cuts, cut = item % cuts, row = one / heads, head = one % heads;
        const KEYS k(*keys, row, head);
        const VALUES v(*values, row, head);
        const int64_t end = tokens * (cut + 1) / cuts;
        for (int64_t begin = tokens * cut / cuts; begin < end; begin += TILE)
            for (int64_t g = 0; g < groups; g++) {
                Floats query[PARTS], total = {};
                for (int i = 0; i < PARTS; i++) {
                    query[i] = load(q + (one * groups + g) * D + i * LANES) * factor;
                    total += query[i];
                }
                tile(query, sum(total), k, v, begin, std::min<int64_t>(TILE, end - begin), answers[(one * groups + g) * cuts + cut]);
            }
    }
    for (int64_t one = 0; one < of * groups; one++) {
        Answer whole = answers[one * cuts];
        for (int64_t cut = 1; cut < cuts; cut++) {
            Answer& other = answers[one * cuts + cut];
            const float peak = std::max(whole.top, other.top);
            whole.fade(peak);
            other.fade(peak);
            whole.total += other.total;
            for (int i = 0; i < PARTS; i++) whole.sums[i] += other.sums[i];
        }
        for (int i = 0; i < PARTS; i++) store(out + one * D + i * LANES, whole.sums[i] / whole.total);
    }
}
