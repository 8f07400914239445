// Before its first use every kernel is compared with the scalar one, which is the specification, on a few
// small rows: a compiler, emulator or processor that gets one wrong then costs speed and not answers.
#pragma once
#include <deque>
#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace tercet {

// A table whose kernels all passed.
class CheckedKernels {
 public:
  // `levels`: where to take kernels from, the best first, the scalar table last: a kernel that fails is
  // replaced by that of the next level that passes, and by the scalar one without question.
  explicit CheckedKernels(const std::vector<const Kernels*>& levels);
  CheckedKernels(const CheckedKernels&) = delete;  // names in the table point into this object
  CheckedKernels& operator=(const CheckedKernels&) = delete;

  const Kernels& table() const { return table_; }
  // The kernels that failed, as cpu_info() shows them.
  const std::vector<std::string>& dropped() const { return dropped_; }

 private:
  void choose_panels(Format format, const std::vector<const Kernels*>& levels);
  template <class Function, class Right>
  void choose(Function Kernels::* member, const char* name, const std::vector<const Kernels*>& levels,
              Right right);

  Kernels table_;
  std::vector<std::string> dropped_;
  std::deque<std::string> names_;
};

// Whether a kernel scores some rows of a format as the scalar one does, all functions of it.
bool panels_are_right(const PanelKernels& kernel, const PanelKernels& scalar, Format format);

// Those of the selected level (TERCET_ISA), resolved at first use; kernels() is their table.
const CheckedKernels& checked_kernels();

}  // namespace tercet
