// Attention of one query a row over what a cache holds, vectors or codes, in one pass over it.
//
// Codes become numbers in registers; scales multiply scores and weights, never vectors. A softmax is accumulated tile by
// tile (Milakov and Gimelshein 2018, arXiv 1805.02867), and the stretches of a head that several threads took are merged.
//
// NUMBER is the type of queries and of the answer, KEYS and VALUES are what K and V are kept as, D their head_dim.

#include <limits>
#include <vector>

constexpr int TILE = 128;  // tokens whose scores are held at a time

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

// How the D numbers of a vector fill PARTS registers: from which on, and how many are left. The rest of a register is 0.
struct Whole {
    static constexpr int PARTS = (D + LANES - 1) / LANES;
    static constexpr int from(int i) { return i * LANES; }
    static constexpr int left(int i) { return D - i * LANES; }
};
struct Halves {  // each half, the first rounded up, has registers of its own
    static constexpr int HALF = (D + 1) / 2, EACH = (HALF + LANES - 1) / LANES, PARTS = 2 * EACH;
    static constexpr int from(int i) { return i < EACH ? i * LANES : HALF + (i - EACH) * LANES; }
    static constexpr int left(int i) { return (i < EACH ? HALF : D) - from(i); }
};

// Vectors as they are.
template <class T>
struct Plain : Whole {
    static constexpr bool CODED = false;
    const T* vectors;
    int64_t token;
    Plain(const Place& at, int64_t row, int64_t head)
        : vectors(static_cast<const T*>(at.vectors) + row * at.row + head * at.head), token(at.token) {}
    const char* line(int64_t s) const { return reinterpret_cast<const char*>(vectors + s * token); }
    Floats part(int64_t s, int i) const { return load(vectors + s * token + from(i), left(i)); }
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
struct Scaled : Whole {
    static constexpr bool CODED = true;
    const C* codes;
    const half* scales;
    int64_t token;
    Scaled(const Place& at, int64_t row, int64_t head)
        : codes(static_cast<const C*>(at.vectors) + row * at.row + head * at.head),
          scales(static_cast<const half*>(at.scales) + row * at.part_row + head * at.part_head),
          token(at.token) {}
    const char* line(int64_t s) const { return reinterpret_cast<const char*>(codes + s * token); }
    Floats part(int64_t s, int i) const { return load(codes + s * token + from(i), left(i)); }
    void factors(int64_t s, int64_t count, Floats& scale, Floats& middle) const {
        scale = load(scales + s, count);
        middle = Floats{};
    }
};

// Codes of four bits, less 8, with a scale and a minimum a token: the first half of a vector in the low bits.
struct Int4 : Halves {
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
        const int begin = (i < EACH ? i : i - EACH) * LANES;
        const Integers bytes = integers(codes + s * token + begin, HALF - begin);
        return __builtin_convertvector((i < EACH ? bytes & 15 : bytes >> 4) - MIDDLE, Floats);
    }
    void factors(int64_t s, int64_t count, Floats& scale, Floats& middle) const {
        scale = load(scales + s, count);
        middle = load(minima + s, count) + float(MIDDLE) * scale;
    }
};

// What a stretch of tokens gives one query: its largest score, the sum of its weights, and the weighted sum of values.
struct Answer {
    float top = -std::numeric_limits<float>::infinity(), total = 0;
    Floats sums[VALUES::PARTS] = {};

    void fade(float peak) {
        const float by = top == peak ? 1 : exponential(Floats{} + (top - peak))[0];
        for (Floats& one : sums) one *= by;
        total *= by;
        top = peak;
    }

    void add(Answer other) {
        const float peak = std::max(top, other.top);
        fade(peak);
        other.fade(peak);
        total += other.total;
        for (int i = 0; i < VALUES::PARTS; i++) sums[i] += other.sums[i];
    }
};

// The scores of `count` tokens, and the largest of them and `peak`; one that is no number is in no order.
static float scored(const Floats* query, const KEYS& keys, int64_t begin, int64_t count, float peak, float* scores) {
    Floats all = {};
    for (int i = 0; i < KEYS::PARTS; i++) all += query[i];
    const float total = sum(all);
    for (int64_t t = 0; t < count; t++) {
        Floats dots = {};
        for (int i = 0; i < KEYS::PARTS; i++) dots += query[i] * keys.part(begin + t, i);
        __builtin_prefetch(keys.line(begin + t) + AHEAD, 0, 2);
        scores[t] = sum(dots);
    }
    for (int64_t t = 0; t < count; t += LANES) {
        Floats s = load(scores + t, count - t), scale, middle;
        if (KEYS::CODED) {
            keys.factors(begin + t, count - t, scale, middle);
            store(scores + t, s = s * scale + total * middle);
        }
        for (int64_t i = 0; i < std::min<int64_t>(LANES, count - t); i++) peak = s[i] > peak ? s[i] : peak;
    }
    return peak;
}

// The values of `count` tokens, weighted by their scores.
static void mixed(float* scores, const VALUES& values, int64_t begin, int64_t count, Answer& answer) {
    Floats totals = {}, middles = {};
    for (int64_t t = 0; t < count; t += LANES) {
        Floats w = exponential(load(scores + t, count - t) - answer.top), scale, middle;
        for (int64_t i = count - t; i < LANES; i++) w[i] = 0;
        totals += w;
        if (VALUES::CODED) {
            values.factors(begin + t, count - t, scale, middle);
            middles += w * middle;
            w *= scale;
        }
        store(scores + t, w);
    }
    answer.total += sum(totals);
    const float middle = VALUES::CODED ? sum(middles) : 0;
    for (Floats& one : answer.sums) one += middle;
    for (int64_t t = 0; t < count; t++) {
        const Floats w = Floats{} + scores[t];
        for (int i = 0; i < VALUES::PARTS; i++) answer.sums[i] += w * values.part(begin + t, i);
        __builtin_prefetch(values.line(begin + t) + AHEAD, 0, 2);
    }
}

// q and out (B, heads * groups, D), all in one stretch: `heads` of keys, each for `groups` queries side by side.
extern "C" void attend(
    int threads, int64_t B, int64_t heads, int64_t groups, int64_t tokens, const NUMBER* q, float factor, const Place* keys,
    const Place* values, NUMBER* out) {
    const int64_t of = B * heads, cuts = std::max<int64_t>(1, std::min(tokens / TILE, (2 * threads + of - 1) / of));
    static thread_local std::vector<Answer> kept;
    kept.assign(of * groups * cuts, Answer{});
    Answer* answers = kept.data();
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t item = 0; item < of * cuts; item++) {
        const int64_t one = item / cuts, cut = item % cuts, end = tokens * (cut + 1) / cuts;
        const KEYS k(*keys, one / heads, one % heads);
        const VALUES v(*values, one / heads, one % heads);
        float scores[TILE + LANES];
        for (int64_t begin = tokens * cut / cuts; begin < end; begin += TILE)
            for (int64_t g = one * groups; g < (one + 1) * groups; g++) {  // a tile's keys and values stay near for all
                const int64_t count = std::min<int64_t>(TILE, end - begin);
                Answer& answer = answers[g * cuts + cut];
                Floats query[KEYS::PARTS];
                for (int i = 0; i < KEYS::PARTS; i++) query[i] = load(q + g * D + KEYS::from(i), KEYS::left(i)) * factor;
                answer.fade(scored(query, k, begin, count, answer.top, scores));
                mixed(scores, v, begin, count, answer);
            }
    }
    for (int64_t g = 0; g < of * groups; g++) {
        Answer& whole = answers[g * cuts];
        for (int64_t cut = 1; cut < cuts; cut++) whole.add(answers[g * cuts + cut]);
        for (int i = 0; i < VALUES::PARTS; i++)
            store(out + g * D + VALUES::from(i), whole.sums[i] / whole.total, VALUES::left(i));
    }
}
