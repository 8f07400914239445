// What the library of CUDA kernels offers, in C: it is a file of its own, found and loaded at run time, so
// that nothing else links CUDA. Pointers are to device memory unless they say otherwise. Calls return 0,
// or 2 for want of memory, or 1 for all else, of which tercet_cuda_error() has the message; they check sizes,
// not pointers. All work is queued on the given stream, and nothing waits for it; only the functions that say
// so allocate or synchronise.
#pragma once
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TERCET_CUDA_ABI 2
#define TERCET_CUDA_EXPORT __attribute__((visibility("default")))

// Stored rows: `format` is a tercet::Format, the bytes are those of csrc/core/types.h,
// tercet_cuda_stride(format, dim) apart, with zeros between.
typedef struct TercetRows {
  const void* codes;
  const uint16_t* scales;     // bfloat16, of integer formats; null: 1
  const uint16_t* centroids;  // of residuals; null: none
  uint64_t count;
  uint32_t format;
  uint32_t dim;
} TercetRows;

// Documents are ranges of token rows: [begins[i], ends[i]), or, where these are null, the first lengths[i] of
// the `each` rows from i * each on (all of them where that is null too).
typedef struct TercetDocuments {
  TercetRows tokens;
  TercetRows codebook;  // of residuals, int8 rows; codes null: none
  const int64_t* begins;
  const int64_t* ends;
  const uint32_t* lengths;
  const int64_t* ids;  // ascending; null: the documents' numbers
  uint64_t seed;       // of the rotation of packed codes
  uint32_t count;
  uint32_t each;
} TercetDocuments;

// Rows of single vectors, each a document.
typedef struct TercetVectors {
  TercetRows rows;
  const int64_t* ids;  // ascending; null: the rows' numbers
  uint64_t seed;
} TercetVectors;

// [count][tokens][dim]; single vectors have one token. `element`: 0 float32, 1 bfloat16, 2 float16.
typedef struct TercetQueries {
  const void* values;
  const uint32_t* lengths;  // of each, in tokens; null: all
  uint32_t element;
  uint32_t count;
  uint32_t tokens;
  uint32_t normalised;  // to length 1 first
} TercetQueries;

typedef struct TercetSearch {
  // [queries][each]: documents to score, or -1. Numbers of documents, ascending, each once, with -1 behind
  // them; or, if `by_id`, ids in any order, of which those that are not there do not count. Null: all.
  const int64_t* candidates;
  void* workspace;
  int64_t* ids;   // [queries][k], -1 where there is none
  float* scores;  // [queries][k], best first; if k is 0 [queries][candidates or documents], as they lie
  uint64_t workspace_bytes;
  uint32_t each;
  uint32_t by_id;
  uint32_t k;
  int32_t device;
} TercetSearch;

TERCET_CUDA_EXPORT int32_t tercet_cuda_abi(void);
TERCET_CUDA_EXPORT const char* tercet_cuda_error(void);  // of the last failure in this thread
TERCET_CUDA_EXPORT uint32_t tercet_cuda_stride(uint32_t format, uint32_t dim);
// The largest k, number of candidates and of dimensions.
TERCET_CUDA_EXPORT void tercet_cuda_limits(uint32_t* k, uint32_t* candidates, uint32_t* dim);

// Bytes of workspace for a search; `workspace`, `ids` and `scores` are not looked at. With less, down to what
// one query takes (of vectors 32), more launches answer fewer queries each.
TERCET_CUDA_EXPORT int32_t tercet_cuda_documents_workspace(const TercetDocuments*, const TercetQueries*,
                                                           const TercetSearch*, uint64_t* bytes);
TERCET_CUDA_EXPORT int32_t tercet_cuda_search_documents(const TercetDocuments*, const TercetQueries*,
                                                        const TercetSearch*, void* stream);
TERCET_CUDA_EXPORT int32_t tercet_cuda_vectors_workspace(const TercetVectors*, const TercetQueries*,
                                                         const TercetSearch*, uint64_t* bytes);
TERCET_CUDA_EXPORT int32_t tercet_cuda_search_vectors(const TercetVectors*, const TercetQueries*,
                                                      const TercetSearch*, void* stream);
// Copies `count` rows of packed bytes to rows that are tercet_cuda_stride() apart, zeros between; of int8,
// signed bytes become excess-128.
TERCET_CUDA_EXPORT int32_t tercet_cuda_place_rows(const void* from, void* to, uint64_t count, uint32_t format,
                                                  uint32_t dim, int32_t device, void* stream);

// ---- memory and streams

TERCET_CUDA_EXPORT int32_t tercet_cuda_devices(int32_t* count);
TERCET_CUDA_EXPORT int32_t tercet_cuda_capability(int32_t device, int32_t* major, int32_t* minor);
// Which device some memory is of; -1: of none.
TERCET_CUDA_EXPORT int32_t tercet_cuda_device_of(const void* memory, int32_t* device);
// Waits for all that the device has been given.
TERCET_CUDA_EXPORT int32_t tercet_cuda_synchronise(int32_t device);
// Gives the system back what was freed in the order of streams.
TERCET_CUDA_EXPORT int32_t tercet_cuda_trim(int32_t device);
TERCET_CUDA_EXPORT int32_t tercet_cuda_allocate(int32_t device, uint64_t bytes,
                                                void** memory);             // may synchronise
TERCET_CUDA_EXPORT int32_t tercet_cuda_free(int32_t device, void* memory);  // synchronises
// In the order of a stream. While that is captured memory is the graph's, and it has to free it as well.
TERCET_CUDA_EXPORT int32_t tercet_cuda_allocate_on(int32_t device, uint64_t bytes, void* stream,
                                                   void** memory);
TERCET_CUDA_EXPORT int32_t tercet_cuda_free_on(int32_t device, void* memory, void* stream);
// From and to host memory, synchronising.
TERCET_CUDA_EXPORT int32_t tercet_cuda_upload(int32_t device, void* to, const void* from, uint64_t bytes,
                                              void* stream);
TERCET_CUDA_EXPORT int32_t tercet_cuda_download(int32_t device, void* to, const void* from, uint64_t bytes,
                                                void* stream);
// The default stream counts as captured where the capture of another forbids to use it.
TERCET_CUDA_EXPORT int32_t tercet_cuda_is_capturing(int32_t device, void* stream, int32_t* capturing);
// What was queued on `stream` until now comes before what `waiting` gets from now on.
TERCET_CUDA_EXPORT int32_t tercet_cuda_order(int32_t device, void* stream, void* waiting);
// An event that has happened when all that was queued until now is done.
TERCET_CUDA_EXPORT int32_t tercet_cuda_record(int32_t device, void* stream, void** event);
TERCET_CUDA_EXPORT int32_t tercet_cuda_has_happened(int32_t device, void* event, int32_t* happened);
TERCET_CUDA_EXPORT int32_t tercet_cuda_forget(int32_t device, void* event);

#ifdef __cplusplus
}
#endif
