// What a search of an HNSWIndex is about to do.
#pragma once
#include "index/hnsw/hnsw.h"

namespace tercet {

// Queries that share a filter.
struct HNSWIndex::Plan {
  const float* queries;  // prepared, [count, dim]
  size_t first, count;
  size_t k, ef;
  const BitSet* allowed = nullptr;  // nodes; null: all there are
  bool exact = false;
  size_t threads;
  const uint32_t* unseen = nullptr;  // of each query a node that is not there
};

}  // namespace tercet
