#include "python/fast/torch_node.h"

#include <cstring>

#include "python/fast/host.h"
#include "python/fast/library.h"
#include "python/fast/torch_tensor.h"

namespace tilewise::fast {
namespace {

using torch_abi::Value;

// Raises an exception of torch, which passes through the caller: nothing may be held at the call.
void refuse(const char* sentence) {
  torch.check(false, "tilewise", __FILE__, __LINE__, sentence);
}

// Takes the value out of an optional argument and frees its memory; 0 if it is empty.
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

constexpr char kUnsupported[] =
    "This operator, which tilewise implements here, has no bias and no dropout.";
constexpr char kNoMemory[] =
    "There is not enough memory for the results or the scratch of this attention.";
constexpr char kFailed[] = "torch refused tilewise a step of this attention.";

const char* sentence_of(Seen seen) {
  switch (seen) {
    case Seen::kUndefined:
      return "A tensor of this attention is undefined; pass one for each that it reads.";
    case Seen::kOfWrongRank:
      return "This attention takes query, key, value, output and its gradient of four dimensions, "
             "and an lse of three.";
    case Seen::kOfWrongType:
      return "The tensors of this attention must be of float16, bfloat16, float32 or float64.";
    case Seen::kWithoutMemory:
      return "A tensor of this attention has no memory, as one has whose storage was freed or "
             "shrunk. Pass one that holds its elements.";
    case Seen::kSpread:
      return "The last dimension of this attention's lse must be contiguous.";
    case Seen::kElsewhere:
      return "The tensors of this attention must lie on one device, the processor or an NVIDIA "
             "GPU.";
    default:
      return kNoMemory;
  }
}

bool say(const char* sentence, Answer& answer) {
  std::strncpy(answer.message, sentence, sizeof answer.message - 1);
  return false;
}

bool is_fine(Seen seen, Answer& answer) {
  return seen == Seen::kFine || say(sentence_of(seen), answer);
}

bool is_zero(Value number) {
  double read = 0;
  std::memcpy(&read, &number, sizeof read);
  return read == 0;
}

bool run_on_host(tw_operation operation, const tw_request& request, Answer& answer) {
  tw_execution execution = {};
  execution.size = sizeof execution;
  std::uint32_t threads = 0;
  torch.threads(&threads);
  execution.threads = static_cast<int32_t>(threads);
  fast::run_on_host(operation, request, execution, answer);
  if (answer.is_out_of_memory) return say(kNoMemory, answer);
  return answer.status == TW_OK;
}

// Runs on torch's stream, with a workspace that is freed in the order of that stream.
bool run_on_device(tw_operation operation, const tw_request& request, const Place& place,
                   Answer& answer) {
  const Function function = operation == TW_FORWARD ? library().forward : library().backward;
  tw_execution execution = {};
  execution.size = sizeof execution;
  execution.device = {TW_CUDA, place.index};
  execution.device_tables = 1;
  Held scratch;
  if (torch.stream == nullptr || torch.stream(place.index, &execution.stream) != 0) return false;
  answer.status = library().workspace(operation, &request, &execution, &execution.workspace_bytes,
                                      answer.message, sizeof answer.message);
  if (answer.status != TW_OK) return false;
  const int64_t step = 1, bytes = static_cast<int64_t>(execution.workspace_bytes);
  if (bytes > 0 && (torch.empty_strided(1, &bytes, &step, torch_abi::kByte, place.type, place.index,
                                        scratch.place()) != 0 ||
                    torch.data(scratch.get(), &execution.workspace) != 0))
    return say(kNoMemory, answer);
  answer.status = function(&request, &execution, answer.message, sizeof answer.message);
  return answer.status == TW_OK;
}

bool run(tw_operation operation, const tw_request& request, const Place& place, Answer& answer) {
  return place.type == torch_abi::kCpu ? run_on_host(operation, request, answer)
                                       : run_on_device(operation, request, place, answer);
}

// One of torch's operators: which of its arguments and results are which.
struct Efficient {
  static constexpr const char* kForward = "_scaled_dot_product_efficient_attention";
  static constexpr const char* kBackward = "_scaled_dot_product_efficient_attention_backward";
  static constexpr int kDropout = 5, kCausal = 6, kScale = 7;
  static constexpr int kResults = 4, kLengths = kResults;  // no lengths among its results
  // The output has the strides of torch's own attention on the processor: like the query.
  static constexpr Layout kOutput = lay_alike, kGradients = lay_rows_first;
  struct Of {
    static constexpr int kOutput = 5, kLse = 6, kDropout = 9, kWanted = 10, kCausal = 11,
                         kScale = 12;
    static constexpr int kOthers[] = {7, 8};  // tensors
  };
};
struct Overrideable {
  static constexpr const char* kForward = "_scaled_dot_product_fused_attention_overrideable";
  static constexpr const char* kBackward =
      "_scaled_dot_product_fused_attention_overrideable_backward";
  static constexpr int kDropout = 4, kCausal = 5, kScale = 7;
  static constexpr int kResults = 9, kLengths = 4;
  static constexpr Layout kOutput = lay_alike, kGradients = lay_alike;
  struct Of {
    static constexpr int kOutput = 6, kLse = 7, kDropout = 12, kWanted = 5, kCausal = 13,
                         kScale = 16;
    static constexpr int kOthers[] = {8, 9, 14, 15};
  };
};

bool look_at(Held* rows, const Place& place, tw_request& request, Answer& answer) {
  tw_tensor* const to[] = {&request.query, &request.key, &request.value};
  for (int i = 0; i < 3; ++i)
    if (!is_fine(look_at_rows(rows[i], place, *to[i]), answer)) return false;
  return true;
}

bool make_lse(const Place& place, tw_request& request, Held& made, Answer& answer) {
  const tw_tensor& rows = request.query;
  const int64_t shape[] = {rows.shape[0], rows.shape[2], rows.shape[1]};
  const int64_t stride[] = {shape[1] * shape[2], shape[2], 1};
  const int32_t wide = rows.dtype == TW_FLOAT64 ? torch_abi::kDouble : torch_abi::kFloat;
  const bool is_made =
      torch.empty_strided(3, shape, stride, wide, place.type, place.index, made.place()) == 0;
  return is_fine(is_made ? look(made, request.lse) : Seen::kUnmade, answer);
}

template <class Operator>
bool attend(Value* stack, Answer& answer) {
  Held rows[] = {Held(stack[0]), Held(stack[1]), Held(stack[2])};
  const Held bias(held_by(stack[3]));
  const Meant meant((stack[Operator::kCausal] & 1) != 0, stack[Operator::kScale]);
  if (bias.get() != nullptr || !is_zero(stack[Operator::kDropout]))
    return say(kUnsupported, answer);
  tw_request request = {};
  request.size = sizeof request;
  request.options = &meant.options;
  Place place;
  Held results[Operator::kResults];
  if (!is_fine(find_place(rows[0], place), answer) || !look_at(rows, place, request, answer) ||
      !is_fine(make(rows[0], place, {request.value.shape[3], Operator::kOutput}, results[0],
                    request.output),
               answer) ||
      !make_lse(place, request, results[1], answer) || !run(TW_FORWARD, request, place, answer))
    return false;
  for (int i = 2; i < Operator::kResults; ++i)
    if (torch.nothing(results[i].place()) != 0) return false;
  for (int i = 0; i < Operator::kResults; ++i) stack[i] = results[i].given();
  if constexpr (Operator::kLengths < Operator::kResults) {
    for (int i = 0; i < 2; ++i) {
      const Held number(stack[Operator::kLengths + i]);  // frees the empty tensor put there above
      const tw_tensor& side = i == 0 ? request.query : request.key;
      stack[Operator::kLengths + i] = static_cast<Value>(side.shape[1]);
    }
  }
  return true;
}

// Reads which gradients are wanted and deletes the list.
bool read_wanted(Value given, bool (&wanted)[4], Answer& answer) {
  auto* list = reinterpret_cast<torch_abi::List>(given);
  std::size_t size = 0;
  bool is_read = torch.list_size(list, &size) == 0 && size == 4;
  for (std::size_t i = 0; i < 4 && is_read; ++i) {
    Value item = 0;
    is_read = torch.list_item(list, i, &item) == 0;
    wanted[i] = (item & 1) != 0;
  }
  torch.list_release(list);
  return is_read || say("The list of wanted gradients must have four entries: for query, key, "
                        "value and bias.",
                        answer);
}

// Returns undefined gradients, as torch does when no gradient arrives.
bool give_nothing(Value* stack) {
  Held found[4];
  for (Held& gradient : found)
    if (torch.nothing(gradient.place()) != 0) return false;
  for (int i = 0; i < 4; ++i) stack[i] = found[i].given();
  return true;
}

template <class Operator>
bool differentiate(Value* stack, Answer& answer) {
  using Of = typename Operator::Of;
  Held arriving(stack[0]), output(stack[Of::kOutput]);
  Held rows[] = {Held(stack[1]), Held(stack[2]), Held(stack[3])};
  const Held bias(stack[4]), lse(stack[Of::kLse]);
  for (const int other : Of::kOthers) const Held released(stack[other]);
  const Meant meant((stack[Of::kCausal] & 1) != 0, stack[Of::kScale]);
  bool wanted[4] = {};
  if (!read_wanted(stack[Of::kWanted], wanted, answer)) return false;
  // The bias is no optional argument: one without elements stands for none.
  if (has_elements(bias) || !is_zero(stack[Of::kDropout])) return say(kUnsupported, answer);
  if (!is_defined(arriving)) return give_nothing(stack);
  tw_request request = {};
  tw_gradients gradients = {};
  request.size = sizeof request;
  gradients.size = sizeof gradients;
  request.options = &meant.options;
  request.gradients = &gradients;
  Place place;
  if (!is_fine(find_place(rows[0], place), answer) || !look_at(rows, place, request, answer) ||
      !is_fine(look_at_rows(output, place, request.output), answer) ||
      !is_fine(look_at_lse(lse, place, request.lse), answer) ||
      !is_fine(look_at_rows(arriving, place, gradients.output), answer))
    return false;
  const tw_tensor* const of[] = {&request.query, &request.key, &request.value};
  tw_tensor* const to[] = {&gradients.query, &gradients.key, &gradients.value};
  Held found[4];
  for (int i = 0; i < 4; ++i) {
    if (i == 3 || !wanted[i]) {
      if (torch.nothing(found[i].place()) != 0) return false;
    } else if (!is_fine(
                   make(rows[i], place, {of[i]->shape[3], Operator::kGradients}, found[i], *to[i]),
                   answer)) {
      return false;
    }
  }
  if (!run(TW_BACKWARD, request, place, answer)) return false;
  for (int i = 0; i < 4; ++i) stack[i] = found[i].given();
  return true;
}

// The kernel of an operator. All that `work` holds is released before refuse() raises.
template <bool (*work)(Value*, Answer&)>
void kernel(Value* stack, std::uint64_t, std::uint64_t) {
  Answer answer;
  if (work(stack, answer)) return;
  refuse(answer.message[0] != '\0' ? answer.message : kFailed);
}

template <class Operator>
bool implement_on(const char* key) {
  void* kernels = nullptr;  // stays
  return torch.library("aten", key, __FILE__, __LINE__, &kernels) == 0 &&
         torch.implement(kernels, Operator::kForward, kernel<attend<Operator>>,
                         torch_abi::kVersion) == 0 &&
         torch.implement(kernels, Operator::kBackward, kernel<differentiate<Operator>>,
                         torch_abi::kVersion) == 0;
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
  if (!implement_on<Efficient>("CPU") || !implement_on<Overrideable>("CPU") ||
      (torch.stream != nullptr && !implement_on<Overrideable>("CUDA"))) {
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
