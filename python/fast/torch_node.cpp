#include "python/fast/torch_node.h"

#include <algorithm>
#include <cstring>

#include "python/fast/host.h"
#include "python/fast/reading.h"
#include "python/fast/torch_abi.h"

namespace tilewise::fast {
namespace {

using torch_abi::Handle;
using torch_abi::Value;

torch_abi::Functions torch = {};

// An exception of torch, which passes through here: nothing may be held when this is called.
void refuse(const char* sentence) {
  torch.check(false, "tilewise", __FILE__, __LINE__, sentence);
}

// A tensor that this holds.
class Held {
 public:
  Held() = default;
  explicit Held(Value value) : handle_(reinterpret_cast<Handle>(value)) {}
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
  ~Held() {
    if (handle_ != nullptr) torch.release(handle_);
  }
  Handle get() const { return handle_; }
  Handle* place() { return &handle_; }
  Value given() { return reinterpret_cast<Value>(std::exchange(handle_, nullptr)); }

 private:
  Handle handle_ = nullptr;
};

int32_t dtype_of(int32_t type) {
  switch (type) {
    case torch_abi::kHalf:
      return TW_FLOAT16;
    case torch_abi::kFloat:
      return TW_FLOAT32;
    case torch_abi::kDouble:
      return TW_FLOAT64;
    default:
      return type == torch_abi::kBfloat ? TW_BFLOAT16 : 0;
  }
}

// What a tensor says of itself; of four dimensions, or of three for the lse.
bool look(const Held& tensor, tw_tensor& to) {
  const Handle handle = tensor.get();
  int64_t rank = 0, *sizes = nullptr, *strides = nullptr, held = 0, offset = 0;
  int32_t type = 0;
  to = {};
  if (torch.rank(handle, &rank) != 0 || rank < 3 || rank > 4) return false;
  if (torch.sizes(handle, &sizes) != 0 || torch.strides(handle, &strides) != 0) return false;
  if (torch.dtype(handle, &type) != 0 || torch.data(handle, &to.data) != 0) return false;
  to.dtype = dtype_of(type);
  to.rank = static_cast<int32_t>(rank);
  std::copy_n(sizes, rank, to.shape);
  std::copy_n(strides, rank, to.stride);
  if (to.dtype == 0 || !measure(to)) return false;
  if (torch.storage_bytes(handle, &held) != 0) return false;
  if (torch.storage_offset(handle, &offset) != 0) return false;
  return offset * item_bytes(to.dtype) + to.byte_size <= held;
}

// Heads come before rows here.
bool look_at_rows(const Held& tensor, tw_tensor& to) {
  if (!look(tensor, to) || to.rank != 4) return false;
  std::swap(to.shape[1], to.shape[2]);
  std::swap(to.stride[1], to.stride[2]);
  return true;
}

// A new tensor without gaps, in the order of `like`'s strides.
bool make(const Held& like, int64_t columns, Held& made) {
  int64_t rank = 0, *sizes = nullptr, *strides = nullptr, shape[4] = {}, stride[4] = {};
  int32_t type = 0;
  const Handle handle = like.get();
  if (torch.rank(handle, &rank) != 0 || rank != 4 || torch.dtype(handle, &type) != 0) return false;
  if (torch.sizes(handle, &sizes) != 0 || torch.strides(handle, &strides) != 0) return false;
  std::copy_n(sizes, 4, shape);
  shape[3] = columns;
  int order[] = {2, 1, 0};  // the last dimension is the nearest
  for (const int i : {0, 1, 0})
    if (strides[order[i]] > strides[order[i + 1]]) std::swap(order[i], order[i + 1]);
  stride[3] = 1;
  int64_t next = std::max<int64_t>(columns, 1);
  for (const int i : order) {
    stride[i] = next;
    next *= std::max<int64_t>(shape[i], 1);
  }
  return torch.empty_strided(4, shape, stride, type, 0, 0, made.place()) == 0;
}

// What an optional argument holds, whose own memory goes back; 0 where it is none.
Value held_by(Value optional) {
  auto* given = reinterpret_cast<Value*>(optional);
  const Value held = given != nullptr ? *given : 0;
  ::operator delete(given);
  return held;
}

// The options of a call, as tilewise.sdpa means them.
struct Meant {
  tw_options options = {};
  tw_mask mask = {};
  tw_scores scores = {};
  Meant(bool is_causal, Value scale) {
    options.size = sizeof options;
    if (is_causal) {
      mask.size = sizeof mask;
      mask.has_right = 1;
      mask.diagonal = TW_TOP_LEFT;
      options.mask = &mask;
    }
    if (scale == 0) return;  // none was given
    auto* given = reinterpret_cast<Value*>(scale);
    scores.size = sizeof scores;
    scores.has_scale = 1;
    std::memcpy(&scores.scale, given, sizeof scores.scale);
    options.scores = &scores;
    ::operator delete(given);
  }
  Meant(const Meant&) = delete;
  Meant& operator=(const Meant&) = delete;
};

constexpr char kUnreadable[] =
    "A tensor of this attention has no memory, as one has whose storage was freed or shrunk, or is "
    "none of four dimensions and of float16, bfloat16, float32 or float64 whose last dimension is "
    "contiguous.";

constexpr char kUnsupported[] =
    "On the processor this operator, which tilewise implements, has no bias and no dropout.";

bool say(const char* sentence, Answer& answer) {
  std::strncpy(answer.message, sentence, sizeof answer.message - 1);
  return false;
}

bool run(tw_operation operation, const tw_request& request, Answer& answer) {
  tw_execution execution = {};
  execution.size = sizeof execution;
  std::uint32_t threads = 0;
  torch.threads(&threads);
  execution.threads = static_cast<int32_t>(threads);
  run_on_host(operation, request, execution, answer);
  return answer.status == TW_OK;
}

bool attend(Value* stack, Answer& answer) {
  const Held query(stack[0]), key(stack[1]), value(stack[2]), bias(held_by(stack[3]));
  const Meant meant(stack[6] & 1, stack[7]);
  if (bias.get() != nullptr || stack[5] != 0) return say(kUnsupported, answer);
  tw_request request = {};
  request.size = sizeof request;
  request.options = &meant.options;
  Held output, lse, seed, offset;
  if (!look_at_rows(query, request.query) || !look_at_rows(key, request.key) ||
      !look_at_rows(value, request.value) || !make(query, request.value.shape[3], output) ||
      !look_at_rows(output, request.output))
    return false;
  const tw_tensor& rows = request.query;
  const int64_t shape[] = {rows.shape[0], rows.shape[2], rows.shape[1]};
  const int64_t stride[] = {shape[1] * shape[2], shape[2], 1};
  const int32_t wide = rows.dtype == TW_FLOAT64 ? torch_abi::kDouble : torch_abi::kFloat;
  if (torch.empty_strided(3, shape, stride, wide, 0, 0, lse.place()) != 0 ||
      !look(lse, request.lse) || !run(TW_FORWARD, request, answer))
    return false;
  if (torch.nothing(seed.place()) != 0 || torch.nothing(offset.place()) != 0) return false;
  Held* results[] = {&output, &lse, &seed, &offset};
  for (int i = 0; i < 4; ++i) stack[i] = results[i]->given();
  return true;
}

// The gradient that arrives, copied where its rows do not lie as the library reads them: sum's has
// strides of zero.
bool look_at_arriving(Held& arriving, const Held& output, tw_tensor& to) {
  if (look_at_rows(arriving, to)) return true;
  Held copy;
  if (to.rank != 4 || to.stride[3] == 1 || !make(output, to.shape[3], copy)) return false;
  if (torch.copy(copy.get(), arriving.get(), 0) != 0) return false;
  std::swap(*arriving.place(), *copy.place());
  return look_at_rows(arriving, to);
}

// Which gradients are wanted; the list is deleted.
bool read_wanted(Value given, bool (&wanted)[4]) {
  auto* list = reinterpret_cast<torch_abi::List>(given);
  bool is_read = true;
  for (std::size_t i = 0; i < 4; ++i) {
    Value item = 0;
    is_read = is_read && torch.list_item(list, i, &item) == 0;
    wanted[i] = (item & 1) != 0;
  }
  torch.list_release(list);
  return is_read;
}

bool differentiate(Value* stack, Answer& answer) {
  Held arriving(stack[0]);
  const Held query(stack[1]), key(stack[2]), value(stack[3]), bias(stack[4]), output(stack[5]),
      lse(stack[6]), seed(stack[7]), offset(stack[8]);
  const Meant meant(stack[11] & 1, stack[12]);
  bool wanted[4] = {};
  tw_request request = {};
  tw_gradients gradients = {};
  request.size = sizeof request;
  gradients.size = sizeof gradients;
  request.options = &meant.options;
  request.gradients = &gradients;
  if (!read_wanted(stack[10], wanted) || !look_at_rows(query, request.query) ||
      !look_at_rows(key, request.key) || !look_at_rows(value, request.value) ||
      !look_at_rows(output, request.output) || !look(lse, request.lse) ||
      !look_at_arriving(arriving, output, gradients.output))
    return false;
  const Held* of[] = {&query, &key, &value};
  tw_tensor* to[] = {&gradients.query, &gradients.key, &gradients.value};
  Held found[4];
  for (int i = 0; i < 4; ++i) {
    if (i == 3 || !wanted[i]) {
      if (torch.nothing(found[i].place()) != 0) return false;
      continue;
    }
    const tw_tensor& rows = i == 0 ? request.query : i == 1 ? request.key : request.value;
    if (!make(*of[i], rows.shape[3], found[i]) || !look_at_rows(found[i], *to[i])) return false;
  }
  if (!run(TW_BACKWARD, request, answer)) return false;
  for (int i = 0; i < 4; ++i) stack[i] = found[i].given();
  return true;
}

// The kernels. What they hold is gone before they refuse.
template <bool (*work)(Value*, Answer&)>
void kernel(Value* stack, std::uint64_t, std::uint64_t) {
  Answer answer;
  if (work(stack, answer)) return;
  refuse(answer.message[0] != '\0' ? answer.message : kUnreadable);
}

}  // namespace

PyObject* implement(PyObject*, PyObject* addresses) {
  void* found[torch_abi::kCount] = {};
  static_assert(sizeof found == sizeof torch);
  if (PyTuple_Check(addresses) == 0 || PyTuple_Size(addresses) != torch_abi::kCount) {
    PyErr_SetString(PyExc_TypeError, "implement takes the addresses of TORCH_FUNCTIONS.");
    return nullptr;
  }
  for (int i = 0; i < torch_abi::kCount; ++i)
    found[i] = PyLong_AsVoidPtr(PyTuple_GetItem(addresses, i));
  if (PyErr_Occurred() != nullptr) return nullptr;
  std::memcpy(&torch, found, sizeof torch);
  void* library = nullptr;
  const char* const forward = "_scaled_dot_product_efficient_attention";
  const char* const backward = "_scaled_dot_product_efficient_attention_backward";
  if (torch.library("aten", "CPU", __FILE__, __LINE__, &library) != 0 ||
      torch.implement(library, forward, kernel<attend>, torch_abi::kVersion) != 0 ||
      torch.implement(library, backward, kernel<differentiate>, torch_abi::kVersion) != 0) {
    PyErr_SetString(PyExc_RuntimeError, "torch does not take the kernels.");
    return nullptr;
  }
  return share(Py_None).release();
}

bool describe_torch(PyObject* module) {
  Reference all = PyTuple_New(torch_abi::kCount);
  for (int i = 0; all && i < torch_abi::kCount; ++i) {
    PyObject* name = PyUnicode_FromString(torch_abi::kNames[i]);
    if (name == nullptr || PyTuple_SetItem(all.get(), i, name) != 0) return false;
  }
  if (!all || PyModule_AddObject(module, "TORCH_FUNCTIONS", all.get()) != 0) return false;
  all.release();
  return true;
}

}  // namespace tilewise::fast
