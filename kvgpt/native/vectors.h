// Vectors of floats as wide as a register of this processor, and numbers in fewer bits that become them.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#ifdef __AVX2__
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
constexpr int BYTES = 64, ACCUMULATORS = 24;
#elif defined(__AVX2__)
constexpr int BYTES = 32, ACCUMULATORS = 8;
#elif defined(__ARM_NEON)
constexpr int BYTES = 16, ACCUMULATORS = 24;
#else
constexpr int BYTES = 16, ACCUMULATORS = 8;
#endif
constexpr int LANES = BYTES / sizeof(float);
constexpr int LINE = 64;  // bytes that memory gives at a time
constexpr int AHEAD = 4096;  // bytes from where a stream is read to where it is asked for: a page

template <class T>
struct Vector {
    typedef T type __attribute__((vector_size(LANES * sizeof(T)), aligned(alignof(T)), may_alias));
};
using Floats = Vector<float>::type;
using Words = Vector<uint32_t>::type;
using Integers = Vector<int32_t>::type;

struct bf16 {
    uint16_t bits;
};

static inline Floats floats(Words bits) {
    Floats x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}

static inline float wide(float x) { return x; }
static inline float wide(int8_t x) { return x; }
static inline float wide(bf16 x) { return floats(Words{} + (uint32_t(x.bits) << 16))[0]; }

// Integers in fewer bits become wide. The processor has an instruction for each, which gcc does not find by itself.
#if defined(__AVX512F__)
static inline Integers integers(const int8_t* p) { return (Integers)_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i*)p)); }
static inline Integers integers(const uint8_t* p) { return (Integers)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)p)); }
static inline Integers integers(const uint16_t* p) {
    return (Integers)_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p));
}
#elif defined(__AVX2__)
static inline Integers integers(const int8_t* p) { return (Integers)_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)p)); }
static inline Integers integers(const uint8_t* p) { return (Integers)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)p)); }
static inline Integers integers(const uint16_t* p) {
    return (Integers)_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)p));
}
#else
template <class T>
static inline Integers integers(const T* p) {
    return __builtin_convertvector(*reinterpret_cast<const typename Vector<T>::type*>(p), Integers);
}
#endif

static inline Floats load(const float* p) { return *reinterpret_cast<const Floats*>(p); }
static inline Floats load(const bf16* p) { return floats(Words(integers(&p->bits)) << 16); }
static inline Floats load(const int8_t* p) { return __builtin_convertvector(integers(p), Floats); }

static inline void store(float* p, Floats x) { *reinterpret_cast<Floats*>(p) = x; }
static inline void store(bf16* p, Floats x) {  // to the nearest, of two the even one; a NaN stays one
    Words bits;
    std::memcpy(&bits, &x, sizeof bits);
    Words nearest = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    Words kept = x == x ? nearest : (bits >> 16) | 0x40;
    *reinterpret_cast<Vector<uint16_t>::type*>(p) = __builtin_convertvector(kept, Vector<uint16_t>::type);
}

// The first `count` lanes alone, where there are no more; the others are 0.
template <class T>
static inline Floats load(const T* p, int64_t count) {
    if (count >= LANES) return load(p);
    T some[LANES] = {};
    for (int64_t i = 0; i < count; i++) some[i] = p[i];
    return load(some);
}
template <class T>
static inline Integers integers(const T* p, int64_t count) {
    if (count >= LANES) return integers(p);
    T some[LANES] = {};
    for (int64_t i = 0; i < count; i++) some[i] = p[i];
    return integers(some);
}
template <class T>
static inline void store(T* p, Floats x, int64_t count) {
    if (count >= LANES) return store(p, x);
    T some[LANES];
    store(some, x);
    for (int64_t i = 0; i < count; i++) p[i] = some[i];
}

// The sum of all lanes: of a vector's halves, and of their halves, down to one.
template <int COUNT>
struct Some {
    typedef float type __attribute__((vector_size(COUNT * sizeof(float))));
};
template <int COUNT>
static inline float sum_of(typename Some<COUNT>::type x) {
    if constexpr (COUNT == 2) {
        return x[0] + x[1];
    } else {
        typename Some<COUNT / 2>::type halves[2];
        std::memcpy(halves, &x, sizeof x);
        return sum_of<COUNT / 2>(halves[0] + halves[1]);
    }
}
static inline float sum(Floats x) { return sum_of<LANES>(x); }

// Loaded once for all that follows: a compiler that sees it in memory loads it for each use.
template <class V>
static inline void in_register([[maybe_unused]] V& x) {
#if defined(__AVX512F__)
    asm("" : "+v"(x));
#elif defined(__AVX2__)
    asm("" : "+x"(x));
#endif
}

// exp of every lane, to some units in the last place; beyond what a float holds, 0 or infinity. After Cephes' expf.
static inline Floats exponential(Floats x) {
    x = x < -104.0f ? Floats{} - 104.0f : x;
    x = x > 89.0f ? Floats{} + 89.0f : x;
    Integers whole = __builtin_convertvector(x * 1.44269504f + (x < 0 ? Floats{} - 0.5f : Floats{} + 0.5f), Integers);
    Floats n = __builtin_convertvector(whole, Floats);
    Floats f = x - n * 0.693359375f + n * 2.12194440e-4f;
    Floats y = Floats{} + 1.9875691500e-4f;
    for (float c : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f}) y = y * f + c;
    y = y * f * f + f + 1.0f;
    Integers half = whole >> 1;  // in two factors, neither of which overflows
    return y * floats(Words((half + 127) << 23)) * floats(Words((whole - half + 127) << 23));
}
