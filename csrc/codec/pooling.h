// Token pooling: fewer vectors per text, each the mean of tokens that are alike.
#pragma once
#include <cstddef>
#include <vector>

#include "core/types.h"

namespace tercet {

// Texts as in TokenVectors: text i owns rows [offsets[i], offsets[i + 1]) of [total, dim].
struct PooledTokens {
  std::vector<float> values;
  std::vector<size_t> offsets;
};

// Clavie, Chaffin and Adams, "Reducing the footprint of multi-vector retrieval with minimal performance
// impact via token pooling", 2024 (arXiv 2409.14683). The first `kept` tokens of a text stay as they are; the
// other n become max(1, n / factor) clusters (0 if there are none) by Ward's method on 1 - cosine, in the
// order of their first tokens. n / factor is known before anything is clustered, so equal tokens may stay
// apart.
//
// A cluster becomes the mean of its tokens, stretched to the mean of their lengths. A mean is shorter than
// what it is the mean of, so without that the merged tokens lose against those that were left alone (Vaswani,
// half of the tokens: nDCG@10 0.485 instead of 0.497). Unit vectors give a unit vector, one token gives
// itself, and tokens without a common direction (their sum is zero) the zero vector, which is at a right
// angle to everything.
//
// `rows` are float32. Throws Error naming a row of `what` that is not finite. The result depends neither on
// the number of threads nor on the other texts.
PooledTokens pool_tokens(const RowsView& rows, const std::vector<size_t>& offsets, size_t factor, size_t kept,
                         size_t threads, const char* what);

}  // namespace tercet
