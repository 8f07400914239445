// The tile instructions. Included inside an anonymous namespace.
//
// Written as assembly because what a compiler knows about its own intrinsics does not suffice: in gcc 12 they
// name neither the memory that a tile is loaded from nor all of the configuration, so that stores before them
// (unpacked rows, the configuration itself) may be dropped as dead.
//
// A tile register is a number known at compile time. Instead of these the tests give kernels/amx.cc a struct
// Tiles that does the same in plain C++, because not every machine that tests has the instructions.

// What LDTILECFG reads: how many rows of how many bytes each register has. Registers of no rows do not exist.
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};
static_assert(sizeof(TileConfig) == 64);

#if !defined(TERCET_AMX_EMULATED)
struct Tiles {
  // Zeroes all registers; belongs to the thread. Tens of cycles, as is release().
  static TERCET_INLINE void configure(const TileConfig& config) {
    __asm__ volatile("ldtilecfg %0" : : "m"(config));
  }
  // Until then every switch of threads saves and restores 8 KiB of tiles.
  static TERCET_INLINE void release() { __asm__ volatile("tilerelease"); }

  template <int T>
  static TERCET_INLINE void zero() {
    __asm__ volatile("tilezero %%tmm%c0" : : "i"(T));
  }
  // The rows of a tile are `stride` bytes apart.
  template <int T>
  static TERCET_INLINE void load(const void* from, size_t stride) {
    __asm__ volatile("tileloadd (%1,%2,1), %%tmm%c0" : : "i"(T), "r"(from), "r"(stride) : "memory");
  }
  template <int T>
  static TERCET_INLINE void store(void* to, size_t stride) {
    __asm__ volatile("tilestored %%tmm%c0, (%1,%2,1)" : : "i"(T), "r"(to), "r"(stride) : "memory");
  }
  // C += A B: int32 sums of the products of unsigned bytes (A) and signed ones (B)
  template <int C, int A, int B>
  static TERCET_INLINE void dpbusd() {
    __asm__ volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
  }
  // the same: float32 sums of the products of bfloat16
  template <int C, int A, int B>
  static TERCET_INLINE void dpbf16() {
    __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
  }
};
#endif
