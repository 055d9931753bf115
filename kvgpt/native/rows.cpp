// Products of a few rows: y (rows, N) = x (rows, K) times weight (N, K), with what comes before and after them.
//
// A weight is read once, as it lies: every thread reads a stretch of its rows, in several streams side by side, and asks
// for each line well before it is multiplied. Sums are in float, and rounded once, where they are written.
//
// WEIGHT and NUMBER are the types of a weight's numbers or codes, and of all else.

#include <type_traits>
#include <utility>
#include <vector>

constexpr int MOST_STREAMS = 8;

// How a stretch of a weight meets one of x: STEP numbers at a time.
template <class W>
struct InFloat {
    using X = float;
    static constexpr int STEP = LANES;
    static Floats weight(const W* p) { return load(p); }
    static Floats input(const X* p) { return load(p); }
    static Floats add(Floats total, Floats w, Floats x) { return total + w * x; }
};

#ifdef __AVX512BF16__
struct InPairs {  // two products a lane at once: for more rows than two, products one by one are slower than memory
    using X = bf16;
    static constexpr int STEP = 2 * LANES;
    static __m512bh weight(const bf16* p) { return (__m512bh)_mm512_loadu_si512(p); }
    static __m512bh input(const X* p) { return (__m512bh)_mm512_loadu_si512(p); }
    static Floats add(Floats total, __m512bh w, __m512bh x) { return (Floats)_mm512_dpbf16_ps((__m512)total, w, x); }
};
template <class W, int ROWS>
using Meeting = std::conditional_t<std::is_same_v<W, bf16> && (ROWS > 1), InPairs, InFloat<W>>;
#else
template <class W, int ROWS>
using Meeting = InFloat<W>;
#endif

// Where number k of row r of x lies: all rows' vectors side by side, in the order in which they are read.
template <int ROWS, int STEP>
static inline int64_t place(int64_t k, int r) {
    return (k / STEP * ROWS + r) * STEP + k % STEP;
}

// STREAMS rows of the weight, each `apart` from the one before it, with every row of x; and so on, `count` times.
template <class W, int ROWS, int STREAMS>
static void products(
    const typename Meeting<W, ROWS>::X* x, const W* weight, float* y, int64_t N, int64_t K, int64_t begin, int64_t count,
    int64_t apart) {
    using M = Meeting<W, ROWS>;
    const int64_t even = K - K % M::STEP;
    for (int64_t n = begin; n < begin + count; n++) {
        Floats totals[STREAMS][ROWS] = {};
        const W* rows[STREAMS];
        for (int s = 0; s < STREAMS; s++) rows[s] = weight + (n + s * apart) * K;
        for (int64_t k = 0; k < even; k += M::STEP) {
            decltype(M::weight(weight)) w[STREAMS];
            for (int s = 0; s < STREAMS; s++) {
                if (k * sizeof(W) % LINE == 0)
                    __builtin_prefetch(reinterpret_cast<const char*>(rows[s] + k) + AHEAD, 0, 2);
                w[s] = M::weight(rows[s] + k);
            }
            for (int r = 0; r < ROWS; r++) {
                auto input = M::input(x + k * ROWS + r * M::STEP);
                in_register(input);
                for (int s = 0; s < STREAMS; s++) totals[s][r] = M::add(totals[s][r], w[s], input);
            }
        }
        for (int s = 0; s < STREAMS; s++)
            for (int r = 0; r < ROWS; r++) {
                float total = sum(totals[s][r]);
                for (int64_t k = even; k < K; k++) total += wide(rows[s][k]) * wide(x[place<ROWS, M::STEP>(k, r)]);
                y[r * N + n + s * apart] = total;
            }
    }
}

template <class W, int ROWS>
static void stretch(
    const typename Meeting<W, ROWS>::X* x, const W* weight, float* y, int64_t N, int64_t K, int64_t begin, int64_t end) {
    constexpr int STREAMS = std::min(MOST_STREAMS, ACCUMULATORS / ROWS);
    const int64_t count = (end - begin) / STREAMS, rest = begin + count * STREAMS;
    products<W, ROWS, STREAMS>(x, weight, y, N, K, begin, count, count);
    products<W, ROWS, 1>(x, weight, y, N, K, rest, end - rest, 0);
}

// A vector that lies in two lines is read twice.
template <class T>
static inline T* aligned(T* p) {
    return reinterpret_cast<T*>((reinterpret_cast<uintptr_t>(p) + LINE - 1) / LINE * LINE);
}

// GELU by tanh, as GPT-2 has it: x times the logistic function of twice what tanh is of.
static inline Floats gelu(Floats x) { return x / (1.0f + exponential(-1.59576912f * (x + 0.044715f * x * x * x))); }

// LayerNorm's mean of one row, and what a number's distance from it is multiplied with.
template <class T>
static std::pair<float, float> moments(const T* x, int64_t K, double epsilon) {
    Floats totals = {}, squares = {};
    for (int64_t k = 0; k < K; k += LANES) totals += load(x + k, K - k);
    const float mean = sum(totals) / K;
    for (int64_t k = 0; k < K; k += LANES) {
        Floats distance = load(x + k, K - k) - mean;
        for (int64_t i = K - k; i < LANES; i++) distance[i] = 0;
        squares += distance * distance;
    }
    return {mean, 1 / std::sqrt(sum(squares) / K + float(epsilon))};
}

// See few_rows of kvgpt/native/rows.py for what is what. There are `rows` of ROWS: the others are zeros.
template <class W, class T, int ROWS>
static void run(
    int threads, int rows, int64_t N, int64_t K, const T* x, const T* norm_weight, const T* norm_bias, double epsilon,
    const W* weight, const T* scale, const T* bias, bool with_gelu, const T* residual, T* out) {
    using X = typename Meeting<W, ROWS>::X;
    constexpr int STEP = Meeting<W, ROWS>::STEP;
    static thread_local std::vector<float> kept_sums;
    static thread_local std::vector<X> kept_inputs;
    kept_sums.resize(ROWS * N + LANES);
    kept_inputs.assign(ROWS * (K + STEP) + LINE / sizeof(X), X{});
    float* sums = kept_sums.data();
    X* inputs = aligned(kept_inputs.data());
    for (int r = 0; r < rows; r++) {
        const T* from = x + r * K;
        const auto [mean, factor] = norm_weight ? moments(from, K, epsilon) : std::pair<float, float>{0, 1};
        for (int64_t k = 0; k < K; k += LANES) {
            Floats v = load(from + k, K - k);
            if (norm_weight) v = (v - mean) * factor * load(norm_weight + k, K - k) + load(norm_bias + k, K - k);
            store(inputs + place<ROWS, STEP>(k, r), v);
        }
    }
    const int64_t blocks = (N + LANES - 1) / LANES;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int64_t part = 0; part < threads; part++) {
        const int64_t begin = blocks * part / threads * LANES;
        const int64_t end = std::min(N, blocks * (part + 1) / threads * LANES);
        stretch<W, ROWS>(inputs, weight, sums, N, K, begin, end);
        for (int r = 0; r < rows; r++)
            for (int64_t n = begin; n < end; n += LANES) {
                const int64_t count = end - n;
                Floats v = load(sums + r * N + n, count);
                if (scale) v *= load(scale + n, count);
                if (bias) v += load(bias + n, count);
                if (with_gelu) v = gelu(v);
                if (residual) v += load(residual + r * N + n, count);
                store(out + r * N + n, v, count);
            }
    }
}

extern "C" void few_rows(
    int threads, int rows, int64_t N, int64_t K, const NUMBER* x, const NUMBER* norm_weight, const NUMBER* norm_bias,
    double epsilon, const WEIGHT* weight, const NUMBER* scale, const NUMBER* bias, int with_gelu, const NUMBER* residual,
    NUMBER* out) {
    const auto of = rows == 1 ? run<WEIGHT, NUMBER, 1>
                  : rows == 2 ? run<WEIGHT, NUMBER, 2>
                  : rows <= 4 ? run<WEIGHT, NUMBER, 4>
                              : run<WEIGHT, NUMBER, 8>;
    of(threads, rows, N, K, x, norm_weight, norm_bias, epsilon, weight, scale, bias, with_gelu, residual, out);
}
