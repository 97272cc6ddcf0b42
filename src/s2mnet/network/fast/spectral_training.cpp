// The spectral branch of SPEC 1.1 on a CPU, forward and backward; spectral.py says what is computed, and why so.
//
// Maps are (batch, height, width, C), of float or bfloat16; all else is float. With M = m + 1 frequencies 0 … m, tables
// are (2, M, size), cosines and then sines; coefficients z are (batch, 2, M, 2, M, C), the cosines and sines along the
// height and then along the width.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <memory>

namespace {

#ifdef __AVX512F__
constexpr int LANES = 16;
#else
constexpr int LANES = 8;
#endif
constexpr int64_t ROWS = 6;  // of a tile of sums, two registers each: with 16 registers no more can stay in them

typedef std::unique_ptr<float[]> Buffer;  // not filled with zeros, as a vector would be

template <int N>
struct Lanes {
  typedef float Type __attribute__((vector_size(4 * N), aligned(4), may_alias));
};

struct Bfloat16 {
  uint16_t bits;

  Bfloat16(float x) {  // to the nearest, ties to even
    uint32_t all = std::bit_cast<uint32_t>(x);
    bits = std::isnan(x) ? 0x7fc0 : (all + 0x7fff + (all >> 16 & 1)) >> 16;
  }
  operator float() const { return std::bit_cast<float>(uint32_t(bits) << 16); }
};

struct Sizes {
  int64_t batch, height, width, channels, m;
  int64_t stored;  // K of the filters
  int64_t brief;   // whether maps are of bfloat16
  int64_t threads;

  int64_t frequencies() const { return m + 1; }
  // numbers in a line of a map, in one transformed along its width, and in the coefficients of an image
  int64_t line() const { return width * channels; }
  int64_t across() const { return 2 * frequencies() * channels; }
  int64_t image() const { return 2 * frequencies() * across(); }
  // of columns that are transformed along the height together
  int64_t blocks() const { return (across() - 1) / (2 * LANES) + 1; }
};

// matrix · in: where they lie, and how far it is to the next row and column. What is summed over comes in `parts` runs
// of `depth` steps.
struct Product {
  const float* matrix;
  int64_t row, column;
  const float* in;
  int64_t in_row;
  int64_t depth;
  int64_t parts = 1, part = 0, in_part = 0;
};

// COUNT rows of the product, A + B columns, all their sums in registers.
template <int COUNT, int A, int B>
void tile(const Product& of, int64_t first, float* out, int64_t out_row) {
  typedef typename Lanes<A>::Type Left;
  typedef typename Lanes<B ? B : 1>::Type Right;
  Left left[COUNT];
  Right right[COUNT];
  for (int row = 0; row < COUNT; row++) left[row] = Left{}, right[row] = Right{};
  for (int64_t part = 0; part < of.parts; part++) {
    const float* matrix = of.matrix + first * of.row + part * of.part;
    const float* in = of.in + part * of.in_part;
    for (int64_t step = 0; step < of.depth; step++, matrix += of.column, in += of.in_row) {
      Left in_left = *(const Left*)in;
      Right in_right{};
      if (B) in_right = *(const Right*)(in + A);
      for (int row = 0; row < COUNT; row++) {
        float factor = matrix[row * of.row];
        left[row] += factor * in_left;
        if (B) right[row] += factor * in_right;
      }
    }
  }
  for (int row = 0; row < COUNT; row++, out += out_row) {
    *(Left*)out = left[row];
    if (B) *(Right*)(out + A) = right[row];
  }
}

template <int A, int B>
int64_t columns(int64_t rows, const Product& of, float* out, int64_t out_row) {
  int64_t tiles = (rows + ROWS - 1) / ROWS;
  for (int64_t i = 0; i < tiles; i++) {
    int64_t first = rows * i / tiles, count = rows * (i + 1) / tiles - first;
    auto sums = count == 6   ? tile<6, A, B>
                : count == 5 ? tile<5, A, B>
                : count == 4 ? tile<4, A, B>
                : count == 3 ? tile<3, A, B>
                : count == 2 ? tile<2, A, B>
                             : tile<1, A, B>;
    sums(of, first, out + first * out_row, out_row);
  }
  return A + B;
}

// out (rows, width) = matrix · in
void multiply(int64_t rows, Product of, float* out, int64_t out_row, int64_t width) {
  while (width > 0) {
    int64_t done = width >= 2 * LANES           ? columns<LANES, LANES>(rows, of, out, out_row)
                   : width >= LANES + LANES / 2 ? columns<LANES, LANES / 2>(rows, of, out, out_row)
                   : width >= LANES             ? columns<LANES, 0>(rows, of, out, out_row)
                   : width >= 4                 ? columns<4, 0>(rows, of, out, out_row)
                                                : columns<1, 0>(rows, of, out, out_row);
    of.in += done, out += done, width -= done;
  }
}

// Sums and differences of the halves of a line. Where the width is even, a wave of even frequency is the same in both
// halves and one of odd frequency the opposite: each needs the sums or the differences only, half of the products.
template <typename In, typename Out>
void halve(const In* __restrict in, Out* __restrict out, int64_t half) {
  for (int64_t i = 0; i < half; i++) {
    float left = in[i], right = in[half + i];
    out[i] = left + right;
    out[half + i] = left - right;
  }
}

// z = table_h · maps · table_wᵀ; `along` (batch, height, 2, M, C) is where the transforms along the width go.
// This and the following functions are called by all threads and share their loops among them.
template <typename Number>
void transform(const Sizes& s, const Number* maps, const float* table_h, const float* table_w, float* along, float* z) {
  int64_t m1 = s.frequencies(), across = s.across(), half = s.width % 2 ? 0 : s.line() / 2, c = s.channels;
  Buffer halves(new float[s.line()]);
#pragma omp for
  for (int64_t i = 0; i < s.batch * s.height; i++) {
    const Number* in = maps + i * s.line();
    float* out = along + i * across;
    if (!half) {
      std::copy(in, in + s.line(), halves.get());
      multiply(2 * m1, {table_w, s.width, 1, halves.get(), c, s.width}, out, c, c);
      continue;
    }
    halve(in, halves.get(), half);
    for (int64_t first = 0; first < 2 * m1; first += m1)  // cosines, sines
      for (int64_t odd = 0; odd < 2; odd++)
        multiply((m1 + 1 - odd) / 2,
                 {table_w + (first + odd) * s.width, 2 * s.width, 1, halves.get() + odd * half, c, s.width / 2},
                 out + (first + odd) * c, 2 * c, c);
  }
#pragma omp for
  for (int64_t i = 0; i < s.batch * s.blocks(); i++) {
    int64_t image = i / s.blocks(), first = i % s.blocks() * 2 * LANES;
    multiply(2 * m1, {table_h, s.height, 1, along + image * s.height * across + first, across, s.height},
             z + image * s.image() + first, across, std::min<int64_t>(2 * LANES, across - first));
  }
}

// maps = table_hᵀ · z · table_w
template <typename Number>
void inverse(const Sizes& s, const float* z, const float* table_h, const float* table_w, float* along, Number* maps) {
  int64_t m1 = s.frequencies(), across = s.across(), half = s.width % 2 ? 0 : s.line() / 2, c = s.channels;
  Buffer halves(new float[s.line()]);
#pragma omp for
  for (int64_t i = 0; i < s.batch * s.blocks(); i++) {
    int64_t image = i / s.blocks(), first = i % s.blocks() * 2 * LANES;
    multiply(s.height, {table_h, 1, s.height, z + image * s.image() + first, across, 2 * m1},
             along + image * s.height * across + first, across, std::min<int64_t>(2 * LANES, across - first));
  }
#pragma omp for
  for (int64_t i = 0; i < s.batch * s.height; i++) {
    const float* in = along + i * across;
    Number* out = maps + i * s.line();
    if (!half) {
      multiply(s.width, {table_w, 1, s.width, in, c, 2 * m1}, halves.get(), c, c);
      std::copy(halves.get(), halves.get() + s.line(), out);
      continue;
    }
    for (int64_t odd = 0; odd < 2; odd++) {
      Product of{table_w + odd * s.width, 1, 2 * s.width, in + odd * c, 2 * c, (m1 + 1 - odd) / 2};
      of.parts = 2, of.part = m1 * s.width, of.in_part = m1 * c;  // cosines, sines
      multiply(s.width / 2, of, halves.get() + odd * half, c, c);
    }
    halve(halves.get(), out, half);
  }
}

// The filters E (2, M, M, 2, C), at (±u, v) real and imaginary part, from weights as stored (C, K, K//2+1, 2):
// E(±u, v) is what is stored in row rows[±, u], times terms[±, u, v].
void filters_from_weights(const Sizes& s, const float* weight, const int64_t* rows, const float* terms, float* filters) {
  int64_t m1 = s.frequencies(), c = s.channels, row = 2 * (s.stored / 2 + 1);
#pragma omp for
  for (int64_t i = 0; i < 2 * m1; i++)
    for (int64_t k = 0; k < c; k++) {
      const float* from = weight + (k * s.stored + rows[i]) * row;
      float* to = filters + i * m1 * 2 * c + k;
      for (int64_t v = 0; v < m1; v++, from += 2, to += 2 * c) {
        to[0] = terms[i * m1 + v] * from[0];
        to[c] = terms[i * m1 + v] * from[1];
      }
    }
}

// Back through the same: what the filters' gradient adds to the weights'.
void filters_to_weights(const Sizes& s, const float* g_filters, const int64_t* rows, const float* terms, float* g_weight) {
  int64_t m1 = s.frequencies(), c = s.channels, row = 2 * (s.stored / 2 + 1);
#pragma omp for
  for (int64_t u = 0; u < m1; u++)
    for (int64_t i = u; i < 2 * m1; i += m1)  // by one thread: +u and −u can be stored in the same row
      for (int64_t k = 0; k < c; k++) {
        const float* from = g_filters + i * m1 * 2 * c + k;
        float* to = g_weight + (k * s.stored + rows[i]) * row;
        for (int64_t v = 0; v < m1; v++, from += 2 * c, to += 2) {
          to[0] += terms[i * m1 + v] * from[0];
          to[1] += terms[i * m1 + v] * from[c];
        }
      }
}

// The four products of cosines and sines at one (u, v) of an image, C numbers each.
struct Waves {
  int64_t cc, cs, sc, ss;

  Waves(const Sizes& s, int64_t u, int64_t v)
      : cc(u * s.across() + v * s.channels),
        cs(cc + s.frequencies() * s.channels),
        sc(cc + s.image() / 2),
        ss(cs + s.image() / 2) {}
};

// The coefficients X = a − ib at (u, v) and (−u, v) of channel k.
struct Pair {
  float a_plus, b_plus, a_minus, b_minus;

  Pair(const float* z, const Waves& at, int64_t k)
      : a_plus(z[at.cc + k] - z[at.ss + k]),
        b_plus(z[at.cs + k] + z[at.sc + k]),
        a_minus(z[at.cc + k] + z[at.ss + k]),
        b_minus(z[at.cs + k] - z[at.sc + k]) {}
};

// filtered = E ⊙ z, or with the conjugate of E; the algebra is that of spectral.py, _multiply.
void filter(const Sizes& s, const float* __restrict z, const float* __restrict filters, float sign,
            float* __restrict filtered) {
  int64_t m1 = s.frequencies(), c = s.channels;
#pragma omp for
  for (int64_t i = 0; i < s.batch * m1; i++) {
    const float* in = z + i / m1 * s.image();
    float* out = filtered + i / m1 * s.image();
    for (int64_t v = 0; v < m1; v++) {
      Waves at(s, i % m1, v);
      const float* plus = filters + (i % m1 * m1 + v) * 2 * c;
      const float* minus = plus + m1 * m1 * 2 * c;
      for (int64_t k = 0; k < c; k++) {
        Pair x(in, at, k);
        float i_plus = sign * plus[c + k], i_minus = sign * minus[c + k];
        float a_plus = plus[k] * x.a_plus + i_plus * x.b_plus;
        float b_plus = plus[k] * x.b_plus - i_plus * x.a_plus;
        float a_minus = minus[k] * x.a_minus + i_minus * x.b_minus;
        float b_minus = minus[k] * x.b_minus - i_minus * x.a_minus;
        out[at.cc + k] = a_plus + a_minus;
        out[at.cs + k] = b_plus + b_minus;
        out[at.sc + k] = b_plus - b_minus;
        out[at.ss + k] = a_minus - a_plus;
      }
    }
  }
}

// The gradient of the filters, from z and from the transform g_z of the gradient of the result.
void filter_gradient(const Sizes& s, const float* __restrict z, const float* __restrict g_z,
                     float* __restrict g_filters) {
  int64_t m1 = s.frequencies(), c = s.channels;
#pragma omp for
  for (int64_t i = 0; i < m1 * m1; i++) {
    Waves at(s, i / m1, i % m1);
    float* plus = g_filters + i * 2 * c;
    float* minus = plus + m1 * m1 * 2 * c;
    std::fill(plus, plus + 2 * c, 0.f);
    std::fill(minus, minus + 2 * c, 0.f);
    for (int64_t image = 0; image < s.batch; image++) {
      const float* in = z + image * s.image();
      const float* g_in = g_z + image * s.image();
      for (int64_t k = 0; k < c; k++) {
        Pair x(in, at, k);
        Pair g(g_in, at, k);
        plus[k] += g.a_plus * x.a_plus + g.b_plus * x.b_plus;
        plus[c + k] += g.a_plus * x.b_plus - g.b_plus * x.a_plus;
        minus[k] += g.a_minus * x.a_minus + g.b_minus * x.b_minus;
        minus[c + k] += g.a_minus * x.b_minus - g.b_minus * x.a_minus;
      }
    }
  }
}

template <typename Number>
void forwards(const Sizes& s, const float* table_h, const float* table_w, const int64_t* rows, const float* terms,
              const Number* maps, const float* weight, float* z, float* filters, Number* result) {
  Buffer along(new float[s.batch * s.height * s.across()]), filtered(new float[s.batch * s.image()]);
#pragma omp parallel num_threads(s.threads)
  {
    filters_from_weights(s, weight, rows, terms, filters);
    transform(s, maps, table_h, table_w, along.get(), z);
    filter(s, z, filters, 1, filtered.get());
    inverse(s, filtered.get(), table_h, table_w, along.get(), result);
  }
}

template <typename Number>
void backwards(const Sizes& s, const float* table_h, const float* table_w, const int64_t* rows, const float* terms,
               const Number* g_result, const float* z, const float* filters, Number* g_maps, float* g_weight) {
  Buffer along(new float[s.batch * s.height * s.across()]), filtered(new float[s.batch * s.image()]);
  Buffer g_z(new float[s.batch * s.image()]), g_filters(new float[4 * s.frequencies() * s.frequencies() * s.channels]);
#pragma omp parallel num_threads(s.threads)
  {
    transform(s, g_result, table_h, table_w, along.get(), g_z.get());
    filter_gradient(s, z, g_z.get(), g_filters.get());
    filters_to_weights(s, g_filters.get(), rows, terms, g_weight);
    filter(s, g_z.get(), filters, -1, filtered.get());
    inverse(s, filtered.get(), table_h, table_w, along.get(), g_maps);
  }
}

}  // namespace

extern "C" void forward(const Sizes* sizes, const float* table_h, const float* table_w, const int64_t* rows,
                        const float* terms, const void* maps, const float* weight, float* z, float* filters,
                        void* result) {
  auto run = [&]<typename Number>(Number* result) {
    forwards(*sizes, table_h, table_w, rows, terms, (const Number*)maps, weight, z, filters, result);
  };
  sizes->brief ? run((Bfloat16*)result) : run((float*)result);
}

// g_weight has to be zero
extern "C" void backward(const Sizes* sizes, const float* table_h, const float* table_w, const int64_t* rows,
                         const float* terms, const void* g_result, const float* z, const float* filters, void* g_maps,
                         float* g_weight) {
  auto run = [&]<typename Number>(Number* g_maps) {
    backwards(*sizes, table_h, table_w, rows, terms, (const Number*)g_result, z, filters, g_maps, g_weight);
  };
  sizes->brief ? run((Bfloat16*)g_maps) : run((float*)g_maps);
}
