// Runs a fuzz target where there is no libFuzzer: mutates its seeds for --seconds=20, or makes --inputs=N.
// These are a function of --seed=1; they are not guided by coverage, only by what a target says has happened.
// An input that crashes is written to crash-<target>, which given as an argument is run again.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iterator>
#include <unordered_set>

#include "core/random.h"
#include "fuzz.h"

extern "C" void __sanitizer_set_death_callback(void (*callback)()) __attribute__((weak));

namespace {

using fuzz::Bytes;

constexpr unsigned kSecondsPerInput = 60;  // more is a hang
constexpr size_t kMostBytes = 1 << 16, kMostKept = 4096;

std::string crash_path;
Bytes current;

void save() {
  std::FILE* const file = std::fopen(crash_path.c_str(), "wb");
  if (!file) return;
  std::fwrite(current.data(), 1, current.size(), file);
  std::fclose(file);
  std::fprintf(stderr, "the input (%zu bytes) is in %s\n", current.size(), crash_path.c_str());
}

void on_signal(int number) {
  if (number == SIGALRM) std::fprintf(stderr, "one input ran for more than %u s\n", kSecondsPerInput);
  signal(SIGABRT, SIG_DFL);
  save();
  std::abort();
}

void run(const Bytes& input) {
  current = input;
  alarm(kSecondsPerInput);
  LLVMFuzzerTestOneInput(current.data(), current.size());
}

bool new_event = false;
std::unordered_set<uint64_t> events;

class Mutator {
 public:
  explicit Mutator(uint64_t seed) : state_(seed) {}

  size_t below(size_t n) { return static_cast<size_t>(tercet::random_below(state_, n)); }

  Bytes make(const std::vector<Bytes>& corpus) {
    Bytes input = corpus[below(corpus.size())];
    for (size_t n = 1 + below(6); n; --n) {
      mutate(input, corpus);
      if (input.size() > kMostBytes) input.resize(kMostBytes);
    }
    return input;
  }

 private:
  void mutate(Bytes& input, const std::vector<Bytes>& corpus) {
    const size_t n = input.size();
    const auto place = [&] { return below(n + 1); };
    const auto at = [&](size_t i) { return input.begin() + static_cast<long>(i); };
    switch (n ? below(10) : 0) {
      case 0: {  // random bytes, somewhere
        Bytes more(1 + below(32));
        for (uint8_t& b : more) b = static_cast<uint8_t>(bits());
        input.insert(at(place()), more.begin(), more.end());
        break;
      }
      case 1:
        input[below(n)] ^= static_cast<uint8_t>(1 << below(8));
        break;
      case 2:
        input[below(n)] = static_cast<uint8_t>(bits());
        break;
      case 3:
        input.resize(place());
        break;
      case 4: {  // the beginning of one, the end of another
        const Bytes& other = corpus[below(corpus.size())];
        if (other.empty()) break;
        input.resize(place());
        input.insert(input.end(), other.begin() + static_cast<long>(below(other.size())), other.end());
        break;
      }
      case 5: {  // the same place of another
        const Bytes& other = corpus[below(corpus.size())];
        const size_t first = place(), count = std::min(below(64), std::min(n, other.size()) -
                                                                      std::min({first, n, other.size()}));
        std::copy_n(other.begin() + static_cast<long>(count ? first : 0), count, at(count ? first : 0));
        break;
      }
      case 6: {  // some bytes less
        const size_t first = place();
        input.erase(at(first), at(first + std::min(below(16), n - first)));
        break;
      }
      case 7: {  // some bytes twice
        const size_t first = place();
        const Bytes some(at(first), at(first + std::min(below(64), n - first)));
        input.insert(at(place()), some.begin(), some.end());
        break;
      }
      default:  // numbers at the ends of their types
        overwrite(input);
    }
  }

  void overwrite(Bytes& input) {
    const size_t size = size_t{1} << below(4);
    constexpr uint32_t kFloats[] = {0x7f800000, 0xff800000, 0x7fc00000, 0x7f7fffff, 0x00000001, 0x80000000};
    uint64_t number = (uint64_t{1} << below(64)) + below(3) - 1;
    if (below(4) == 0) number = ~number + 1;
    if (below(3) == 0) {  // floats, or the upper halves that bfloat16 are
      const uint64_t x = kFloats[below(std::size(kFloats))];
      number = size == 2 ? x >> 16 : x | x << 32;
    }
    if (input.size() < size) return;
    const size_t places = input.size() - size + 1;
    for (size_t i = below(places), count = below(8) ? 1 : below(64); count && i < places;
         --count, i += size) {
      std::memcpy(input.data() + i, &number, size);
    }
  }

  uint64_t bits() { return tercet::split_mix(state_); }
  uint64_t state_;
};

uint64_t argument(int argc, char** argv, const std::string& name, uint64_t otherwise) {
  const std::string option = "--" + name + "=";
  for (int i = 1; i < argc; ++i) {
    if (std::string(argv[i]).starts_with(option)) return std::strtoull(argv[i] + option.size(), nullptr, 10);
  }
  return otherwise;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string self = argv[0], name = self.substr(self.rfind('/') + 1);
  crash_path = "crash-" + name;
  signal(SIGABRT, on_signal);
  signal(SIGALRM, on_signal);
  if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(save);
  if (argc == 2 && argv[1][0] != '-') {
    std::ifstream file(argv[1], std::ios::binary);
    if (!file) {
      std::fprintf(stderr, "cannot read %s\n", argv[1]);
      return 2;
    }
    crash_path += "-again";
    run(Bytes(std::istreambuf_iterator<char>(file), {}));
    return 0;
  }

  fuzz::on_event = [](uint64_t what) { new_event |= events.insert(what).second; };
  std::vector<Bytes> corpus = fuzz::seeds();
  const size_t seeds = corpus.size();
  for (const Bytes& seed : corpus) run(seed);
  corpus.emplace_back();
  const size_t seconds = argument(argc, argv, "seconds", 20), most = argument(argc, argv, "inputs", 0);
  Mutator mutator(argument(argc, argv, "seed", 1));
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  size_t inputs = 0;
  for (; most ? inputs < most : elapsed() < static_cast<double>(seconds); ++inputs) {
    const Bytes input = mutator.make(corpus);
    new_event = false;
    run(input);
    if (new_event && corpus.size() < kMostKept) corpus.push_back(input);
  }
  std::printf("%s: %zu seeds, %zu inputs, %.0f a second, %zu events, %zu inputs kept\n", name.c_str(), seeds,
              inputs, static_cast<double>(inputs) / elapsed(), events.size(), corpus.size());
  return 0;
}
