// HNSWIndex: a graph over int8 codes, whose best are scored again by the float32 vectors; or over the vectors
// themselves, where codes cannot tell them apart.
//
// Vectors have nodes, which keep their number as long as they live; ids have slots (ids.h), which do not. A
// removed vector's node stays in the graph, passed through but never found, until there are many: then the
// graph is repaired around them and their nodes are used again.
#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/bits.h"
#include "core/shared_lock.h"
#include "index/code_store.h"
#include "index/hnsw/layers.h"
#include "index/ids.h"
#include "index/opened.h"
#include "index/search.h"

namespace tercet {

struct HNSWOptions {
  uint32_t m = 16;               // a node has up to 2 m neighbours
  size_t ef_construction = 100;  // width of the beam that finds them
};

// Thread-safe: searches run while one thread adds; of add and remove, one at a time.
class HNSWIndex {
 public:
  // `codec`: "int8", or "float32" to do without codes. `rescore`: the float32 vectors are kept beside the
  // codes, and scores are theirs.
  HNSWIndex(uint32_t dim, Metric metric, const std::string& codec, const HNSWOptions& options, bool rescore);

  // As FlatIndex::add. Searches find none of the vectors before it returns, and all after.
  // `check` is called before each batch of a few thousand; if it throws, nothing was added.
  Ids add(const float* vectors, size_t stride, size_t count, std::optional<Ids> ids, size_t threads,
          const std::function<void()>& check = {});
  void remove(const Ids& ids);
  // `ef`: the width of the beam, at least k; as many as are allowed look at all of them. Always
  // min(k, allowed) hits. `exact`: the best of all by the float32 vectors, or by the codes without them.
  Results search(const float* queries, size_t count, size_t k, const Filters& filters, size_t ef, bool exact,
                 size_t threads) const;
  // What a search for each of these vectors finds by the graph, if the vector itself were not in it.
  Results search_held_out(const Ids& ids, size_t k, size_t ef, size_t threads) const;
  // Rows of ids, [count, dim]: the vectors, or what their codes stand for.
  std::vector<float> get(const Ids& ids) const;

  bool contains(const Ids& one) const;
  Ids ids() const;
  size_t size() const;
  size_t bytes() const;
  uint32_t dim() const { return dim_; }
  const char* codec() const;
  // How many times something was added or removed.
  uint64_t changes() const { return changes_; }
  // Of a graph: how many nodes are removed but not yet used again, and neighbours of a node in the mean.
  size_t removed() const;
  double mean_degree() const;

  // As those of FlatIndex; searches go on while it is saved, changes wait.
  void save(const SaveTo& to) const;
  void restore(std::shared_ptr<const Container> file);
  void verify() const;

 private:
  using Hits = std::vector<Candidate>;  // rows are nodes
  // How many of the best by their codes are scored again: recall@10 of int8 is above 0.99 among twice as
  // many.
  static constexpr size_t kRescored = 2;

  // Vectors themselves are compared by differences.
  bool has_bias() const { return metric_ == Metric::l2 && codes_; }
  float limit() const;
  size_t most_nodes() const { return slot_of_.size(); }
  void reserve(size_t nodes);
  void resize(size_t nodes);
  void encode(uint32_t node, const float* vector, float* scratch) noexcept;
  // What the graph is walked by.
  RowsView rows() const;
  RowsView vectors() const;
  // Nodes for `count` vectors: those that are free, then new ones.
  std::vector<uint32_t> take_nodes(size_t count);
  void insert(const std::vector<uint32_t>& nodes, size_t threads, const std::function<void()>& check);
  void abandon(const std::vector<uint32_t>& nodes, size_t reused) noexcept;
  bool codes_confuse(size_t inside, size_t threads) const;
  void leave_codes(size_t threads, const std::function<void()>& check);
  void forget(uint32_t node);
  void restore_nodes(const Container& file, size_t nodes);
  // Takes removed nodes out of the graph.
  void repair(size_t threads);

  BitSet allowed_nodes(const Filter& filter) const;
  bool scan_is_faster(size_t allowed, size_t queries, size_t width, bool filtered) const;
  struct Plan;  // of queries that share a filter
  void scan(const Plan& plan, std::vector<Hits>& hits) const;
  NodeQuery encode_query(const float* query, int8_t* codes) const;
  Hits scan_in_place(const Plan& plan) const;
  void walk(const Plan& plan, const std::function<void(size_t query, const Pool&)>& done) const;
  void walk(const Plan& plan, std::vector<Hits>& hits) const;
  void rescore(const float* query, Hits& hits, size_t k) const;
  std::unique_ptr<BeamScratch> take_scratch() const;
  void give_scratch(std::unique_ptr<BeamScratch> scratch) const;

  uint32_t dim_;
  Metric metric_;
  HNSWOptions options_;
  std::unique_ptr<CodeStore> codes_;  // by node, as all below; null: the graph is walked by the vectors
  Buffer<float> originals_;           // empty without rescoring
  bool keeps_originals_;
  std::vector<float> bias_;  // of distances by codes: -|x|^2 of what they stand for
  Layers layers_;
  std::vector<uint32_t> slot_of_;  // kNoNode: removed, free, or not yet there
  std::vector<uint32_t> node_of_;  // by slot
  bool slots_are_nodes_ = true;    // nothing was ever removed, and no add failed
  BitSet live_;
  size_t unchecked_ = 0;                  // nodes added since codes_confuse()
  std::vector<uint32_t> removed_, free_;  // still in the graph; not in it
  IdTable ids_;
  std::atomic<uint64_t> changes_{0};
  Opened opened_;

  mutable SharedLock mutex_;   // of everything above
  mutable std::mutex change_;  // one change at a time; taken before mutex_
  mutable std::mutex scratch_mutex_;
  mutable std::vector<std::unique_ptr<BeamScratch>> scratch_;
};

}  // namespace tercet
