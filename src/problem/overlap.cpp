// overlap() and folds() solve one question: can a sum of step_k * x_k, each x_k from 0 to most_k,
// fall into an interval? The steps are few, and a step is mostly longer than all that smaller steps
// reach, so a search from the largest step down hardly branches; the last two steps are solved in
// closed form.
#include "problem/overlap.h"

namespace tilewise {
namespace {

__extension__ using int128 = __int128;

constexpr int kMaxSteps = 8;
constexpr int kMaxVisits = 1 << 16;

constexpr int64 gcd(int64 a, int64 b) {
  while (b != 0) {
    const int64 rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

// ceil(a / b), for any a and b > 0.
constexpr int64 divide_up(int64 a, int64 b) {
  return -core::floor_div(-a, b);
}

constexpr int64 modulo(int64 a, int64 b) {
  return a - core::floor_div(a, b) * b;
}

// The least t >= 0 with low <= step * t mod modulus <= high, or -1; 0 <= low <= high < modulus. If
// no multiple of the step lies in the interval, step * t wraps around the modulus y times, and y
// solves the same problem modulo the step, as in Euclid's algorithm.
int64 first_inside(int64 step, int64 modulus, int64 low, int64 high) {
  if (low == 0) return 0;
  step %= modulus;
  if (step == 0) return -1;
  const int64 t = divide_up(low, step);
  if (int128{t} * step <= high) return t;
  const int64 y = first_inside(modulus % step, step, modulo(-high, step), modulo(-low, step));
  if (y < 0) return -1;
  return static_cast<int64>((int128{y} * modulus + low + step - 1) / step);
}

class Sums {
 public:
  // Adds step * x for x from 0 to most. A negative step is made positive by counting x from `most`
  // down.
  void add(int64 step, int64 most) {
    if (step == 0 || most == 0) return;
    if (step < 0) {
      base_ += step * most;
      step = -step;
    }
    int k = 0;
    while (k < count_ && step_[k] > step) ++k;
    if (k < count_ && step_[k] == step) {
      most_[k] += most;
      return;
    }
    for (int moved = count_++; moved > k; --moved) {
      step_[moved] = step_[moved - 1];
      most_[moved] = most_[moved - 1];
    }
    step_[k] = step;
    most_[k] = most;
  }

  Answer any_within(int64 low, int64 high) {
    low -= base_;
    high -= base_;
    // Removes each step that is no larger than the interval and widens the interval by all that the
    // step can add: the multiples of such a step cannot jump over the interval.
    while (count_ > 0 && step_[count_ - 1] <= high - low + 1) {
      --count_;
      low -= step_[count_] * most_[count_];
    }
    rest_[count_] = divisor_[count_] = 0;
    for (int k = count_ - 1; k >= 0; --k) {
      rest_[k] = rest_[k + 1] + step_[k] * most_[k];
      divisor_[k] = gcd(step_[k], divisor_[k + 1]);
    }
    visits_ = 0;
    return search(0, low, high);
  }

 private:
  Answer search(int k, int64 low, int64 high) {
    if (++visits_ > kMaxVisits) return Answer::kUnknown;
    if (high < 0 || low > rest_[k]) return Answer::kNo;
    if (low <= 0 || rest_[k] <= high) return Answer::kYes;
    if (core::floor_div(high, divisor_[k]) * divisor_[k] < low) return Answer::kNo;
    if (k + 1 == count_) return one_step(k, low, high) ? Answer::kYes : Answer::kNo;
    if (k + 2 == count_) return two_steps(k, low, high) ? Answer::kYes : Answer::kNo;
    const int64 first = core::larger(divide_up(low - rest_[k + 1], step_[k]), int64{0});
    const int64 last = core::smaller(high / step_[k], most_[k]);
    for (int64 x = first; x <= last; ++x) {
      const Answer answer = search(k + 1, low - x * step_[k], high - x * step_[k]);
      if (answer != Answer::kNo) return answer;
    }
    return Answer::kNo;
  }

  bool one_step(int k, int64 low, int64 high) const {
    const int64 x = core::larger(divide_up(low, step_[k]), int64{0});
    return x <= most_[k] && x * step_[k] <= high;
  }

  // Solves the last two steps. The smaller step's count is 0, or its largest, or in between. For in
  // between, only counts of the larger step are tried that leave a rest between 0 and `far`; there
  // any multiple of the smaller step that meets the interval has a count in range.
  bool two_steps(int k, int64 low, int64 high) const {
    const int64 step = step_[k], inner = step_[k + 1], far = rest_[k + 1];
    if (one_step(k, low, high) || one_step(k, low - far, high - far)) return true;
    const int64 first = core::larger(core::floor_div(high - far, step) + 1, int64{0});
    const int64 last = core::smaller(divide_up(low, step) - 1, most_[k]);
    if (first > last) return false;
    // Wanted: t <= last - first with (target - step * t) mod inner <= width.
    const int64 target = high - first * step, width = high - low;
    const int64 from = modulo(-target, inner);
    if (from == 0 || from + width >= inner) return true;
    const int64 t = first_inside(modulo(-step, inner), inner, from, from + width);
    return 0 <= t && t <= last - first;
  }

  int count_ = 0, visits_ = 0;
  int64 base_ = 0;
  int64 step_[kMaxSteps] = {}, most_[kMaxSteps] = {};             // largest step first
  int64 rest_[kMaxSteps + 1] = {}, divisor_[kMaxSteps + 1] = {};  // of the steps from k on
};

constexpr int64 Axes::*kAxes[] = {&Axes::batch, &Axes::head, &Axes::row, &Axes::column};

bool empty(const View& view) {
  for (const auto axis : kAxes) {
    if (view.size.*axis == 0) return true;
  }
  return false;
}

int64 address(const View& view) {
  return static_cast<int64>(reinterpret_cast<std::uintptr_t>(view.data));
}

// The range of bytes from the view's lowest to behind its highest.
core::Range reach(const View& view) {
  core::Range bytes{address(view), address(view) + core::bytes_of(view.dtype)};
  for (const auto axis : kAxes) {
    const int64 far = (view.size.*axis - 1) * (view.stride.*axis) * core::bytes_of(view.dtype);
    (far < 0 ? bytes.begin : bytes.end) += far;
  }
  return bytes;
}

}  // namespace

Answer overlap(const View& a, const View& b) {
  if (empty(a) || empty(b) || core::intersect(reach(a), reach(b)).empty()) return Answer::kNo;
  const int64 a_bytes = core::bytes_of(a.dtype), b_bytes = core::bytes_of(b.dtype);
  Sums difference;
  for (const auto axis : kAxes) {
    difference.add(a.stride.*axis * a_bytes, a.size.*axis - 1);
    difference.add(-(b.stride.*axis) * b_bytes, b.size.*axis - 1);
  }
  const int64 apart = address(b) - address(a);
  return difference.any_within(apart - (a_bytes - 1), apart + (b_bytes - 1));
}

namespace {

// Whether each step is at least as long as all that the smaller steps reach. Nearly all tensors are
// so; then no two elements share a byte, and the search is not needed.
bool nests(const View& view) {
  struct Step {
    int64 bytes, most;
  };
  Step steps[4];  // the smallest first
  int count = 0;
  for (const auto axis : kAxes) {
    if (view.size.*axis == 1) continue;
    const int64 bytes = view.stride.*axis * core::bytes_of(view.dtype);
    const Step step{bytes < 0 ? -bytes : bytes, view.size.*axis - 1};
    int k = count++;
    for (; k > 0 && steps[k - 1].bytes > step.bytes; --k) steps[k] = steps[k - 1];
    steps[k] = step;
  }
  int64 reached = core::bytes_of(view.dtype);
  for (int k = 0; k < count; ++k) {
    if (steps[k].bytes < reached) return false;
    reached += steps[k].bytes * steps[k].most;
  }
  return true;
}

}  // namespace

Answer folds(const View& view) {
  if (empty(view) || nests(view)) return Answer::kNo;
  const int64 bytes = core::bytes_of(view.dtype);
  // Compares two elements whose indices agree before axis `first` and differ there by at least 1.
  for (int first = 0; first < 4; ++first) {
    const int64 most = view.size.*kAxes[first] - 1, step = view.stride.*kAxes[first] * bytes;
    if (most == 0) continue;
    Sums difference;
    difference.add(step, most - 1);
    int64 centre = -step;
    for (int k = first + 1; k < 4; ++k) {
      const int64 other = view.stride.*kAxes[k] * bytes, span = view.size.*kAxes[k] - 1;
      difference.add(other, 2 * span);
      centre += other * span;
    }
    const Answer answer = difference.any_within(centre - (bytes - 1), centre + (bytes - 1));
    if (answer != Answer::kNo) return answer;
  }
  return Answer::kNo;
}

}  // namespace tilewise
