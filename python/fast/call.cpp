#include "python/fast/call.h"

#include <cstring>

#include "python/fast/host.h"
#include "python/fast/library.h"

namespace tilewise::fast {
namespace {

bool is_float(int32_t dtype) {
  return dtype >= TW_FLOAT32 && dtype <= TW_FLOAT8_E5M2;
}

// Whether an array's type is one that its slot takes; `wide` adds float64.
bool is_of(Kind kind, const View& view, bool wide) {
  const int32_t dtype = view.tensor.dtype;
  switch (kind) {
    case Kind::kFloats:
      return is_float(dtype);
    case Kind::kFactors:
      return dtype == TW_FLOAT32 || (wide && dtype == TW_FLOAT64);
    case Kind::kBooleans:
      return dtype == TW_BOOL;
    case Kind::kIntegers:
      return dtype == TW_INT32 || dtype == TW_INT64;
    default:
      return view.is_pair;
  }
}

// Adds leading dimensions of size 1 up to `rank`, as in broadcasting.
void pad(tw_tensor& tensor, int rank) {
  const int missing = rank - tensor.rank;
  if (missing <= 0) return;
  for (int i = rank - 1; i >= 0; --i) {
    tensor.shape[i] = i >= missing ? tensor.shape[i - missing] : 1;
    tensor.stride[i] = i >= missing ? tensor.stride[i - missing] : 0;
  }
  tensor.rank = rank;
}

void swap_middle(tw_tensor& tensor) {
  if (tensor.rank != 4) return;
  std::swap(tensor.shape[1], tensor.shape[2]);
  std::swap(tensor.stride[1], tensor.stride[2]);
}

// The type of results for inputs of `dtype`: the same, but bfloat16 for the types of 8 bits.
int32_t default_dtype(int32_t dtype) {
  return dtype == TW_FLOAT8_E4M3 || dtype == TW_FLOAT8_E5M2 ? TW_BFLOAT16 : dtype;
}

Reference shape_of(tw_tensor tensor, bool heads_first) {
  if (heads_first) swap_middle(tensor);
  const auto size = [&](int i) { return static_cast<long long>(tensor.shape[i]); };
  if (tensor.rank == 2) return Py_BuildValue("(LL)", size(0), size(1));
  if (tensor.rank == 3) return Py_BuildValue("(LLL)", size(0), size(1), size(2));
  return Py_BuildValue("(LLLL)", size(0), size(1), size(2), size(3));
}

// Whether the call was made. False without an exception if the library refused the call and did
// nothing: Python makes the call again and says more. Other failures are raised here.
bool ended(tw_status status, const char* message) {
  if (status == TW_OK) return true;
  if (status == TW_INVALID) return false;
  const Reference raised =
      PyObject_CallFunction(library().refuse, "iy", static_cast<int>(status), message);
  if (raised) PyErr_SetString(PyExc_RuntimeError, message);
  return false;
}

}  // namespace

tw_tensor& Call::place(int slot) {
  return *reinterpret_cast<tw_tensor*>(reinterpret_cast<char*>(&bundle_) + kSlots[slot].offset);
}

bool Call::begin(PyObject* form, long flags) {
  if (PyErr_Occurred() != nullptr) return false;
  if (PyBytes_Check(form) == 0 || PyBytes_Size(form) != static_cast<Py_ssize_t>(sizeof(Form))) {
    PyErr_SetString(PyExc_TypeError, "The form is not of this version of tilewise.");
    return false;
  }
  std::memcpy(&bundle_.form, PyBytes_AsString(form), sizeof(Form));
  bundle_.request.size = sizeof(tw_request);
  flags_ = flags;
  return true;
}

bool Call::put(int slot, PyObject* array, bool is_new) {
  const Framework* own = framework_of(array);
  if (own == nullptr) return false;
  if (framework_ == nullptr) framework_ = own;  // query comes first
  if (own->family != framework_->family) return false;
  View view{};
  if (!read(*own, array, view) || !(is_new || is_held(*own, array, view))) return false;
  if (!has_device_) device_ = view.device;
  has_device_ = true;
  if (view.device.kind != device_.kind || view.device.index != device_.index) return false;
  const Slot& to = kSlots[slot];
  const int32_t query_dtype = slot == kQuery ? view.tensor.dtype : bundle_.request.query.dtype;
  if (!is_of(to.kind, view, query_dtype == TW_FLOAT64)) return false;
  if (to.is_written && !view.is_writable) return false;
  if (to.kind == Kind::kPair) {
    bundle_.form.dropout.state = static_cast<const uint64_t*>(view.tensor.data);
    return view.tensor.stride[0] == 1;
  }
  pad(view.tensor, to.rank);
  if (to.is_rows && (flags_ & kHeadsFirst) != 0) swap_middle(view.tensor);
  place(slot) = view.tensor;
  return true;
}

bool Call::put_all(PyObject* pairs) {
  const Py_ssize_t count = pairs == Py_None ? 0 : PyTuple_Size(pairs);
  for (Py_ssize_t i = 0; i + 1 < count; i += 2) {
    const long slot = PyLong_AsLong(PyTuple_GetItem(pairs, i));
    if (!put_one(slot, PyTuple_GetItem(pairs, i + 1))) return false;
  }
  attach();
  return PyErr_Occurred() == nullptr;
}

bool Call::put_one(long slot, PyObject* item) {
  if (slot >= 0 && slot < kSlotCount) return put(static_cast<int>(slot), item);
  tw_dropout& dropout = bundle_.form.dropout;
  (slot == kSeed ? dropout.seed : dropout.offset) = PyLong_AsUnsignedLongLongMask(item);
  return (slot == kSeed || slot == kDropoutOffset) && PyErr_Occurred() == nullptr;
}

// Points the request at the structs that ask for something.
void Call::attach() {
  Form& form = bundle_.form;
  tw_options& options = bundle_.options;
  const auto hang = [](auto& part, bool is_asked, auto& where) {
    if (!is_asked && part.size == 0) return;
    part.size = sizeof part;
    where = &part;
  };
  hang(form.mask, form.mask.visible.rank != 0 || form.mask.blocks.rank != 0, options.mask);
  const tw_scores& scores = form.scores;
  hang(form.scores, scores.slopes.rank != 0 || scores.bias.rank != 0 || scores.sinks.rank != 0,
       options.scores);
  hang(form.dropout, false, options.dropout);
  const auto has_tables = [](const tw_sequences& side) {
    return side.offsets.rank != 0 || side.used.rank != 0 || side.start.rank != 0;
  };
  hang(form.queries, has_tables(form.queries), options.queries);
  hang(form.keys, has_tables(form.keys), options.keys);
  tw_cache& cache = bundle_.cache;
  hang(cache, cache.page_table.rank != 0 || cache.batch_index.rank != 0, options.cache);
  tw_scaling& scaling = bundle_.scaling;
  hang(scaling,
       scaling.query.rank != 0 || scaling.key.rank != 0 || scaling.value.rank != 0 ||
           scaling.output_gradient.rank != 0,
       options.scaling);
  options.deterministic = form.deterministic != 0 || (flags_ & kDeterministic) != 0 ? 1 : 0;
  options.size = sizeof options;
  bundle_.request.options = &options;
}

bool Call::is_shaped() const {
  const tw_tensor &query = bundle_.request.query, &key = bundle_.request.key,
                  &value = bundle_.request.value;
  if ((flags_ & kHeadsFirst) == 0)  // results take their shapes from these ranks
    return query.rank == (bundle_.form.queries.offsets.rank != 0 ? 3 : 4) &&
           value.rank == (bundle_.form.keys.offsets.rank != 0 ? 3 : 4) && key.rank == value.rank;
  if (query.rank != 4 || key.rank != 4 || value.rank != 4) return false;
  if (query.shape[3] == 0 || value.shape[3] == 0) return false;
  if (query.shape[0] != key.shape[0] || key.shape[0] != value.shape[0]) return false;
  if (key.shape[2] != value.shape[2]) return false;
  return (flags_ & kGrouped) != 0 || key.shape[2] == 1 || query.shape[2] == key.shape[2];
}

bool Call::fits(long flags, PyObject* const* rows) {
  flags_ = flags | kHeadsFirst;
  // Does not check that the tensors' memory is still theirs; whoever reads it does.
  for (int i = 0; i < 3; ++i)
    if (!put(kQuery + i, rows[i], true)) return false;
  const tw_tensor &query = bundle_.request.query, &key = bundle_.request.key,
                  &value = bundle_.request.value;
  const int64_t key_heads = key.shape[2];
  return is_shaped() && query.dtype == key.dtype && key.dtype == value.dtype &&
         item_bytes(query.dtype) > 1 && query.shape[3] == key.shape[3] &&
         key.shape[1] == value.shape[1] && key_heads > 0 && query.shape[2] % key_heads == 0;
}

Reference Call::make(PyObject* like, Reference shape, int32_t dtype, Fill fill) const {
  const Reference code = PyLong_FromLong(dtype);
  const Reference filled = PyLong_FromLong(static_cast<long>(fill));
  if (!shape || !code || !filled) return nullptr;
  return PyObject_CallFunctionObjArgs(framework_->make, like, shape.get(), code.get(), filled.get(),
                                      nullptr);
}

Reference Call::make_output(PyObject* query) {
  const tw_request& request = bundle_.request;
  const int32_t asked = bundle_.form.output_dtype;
  const int32_t dtype = asked != 0 ? asked : default_dtype(request.query.dtype);
  const int64_t dim = request.value.shape[request.value.rank - 1];
  const bool is_owned = bundle_.options.queries == nullptr;
  Reference output;
  tw_tensor like = request.query;
  if (is_owned && dtype == like.dtype && dim == like.shape[like.rank - 1]) {
    output = PyObject_CallFunctionObjArgs(framework_->empty_like, query, nullptr);
  } else {
    like.shape[like.rank - 1] = dim;
    output = make(query, shape_of(like, (flags_ & kHeadsFirst) != 0), dtype,
                  is_owned ? Fill::kNothing : Fill::kZero);
  }
  return output && put(kOut, output.get(), true) ? std::move(output) : nullptr;
}

Reference Call::make_lse(PyObject* query) {
  const tw_tensor& rows = bundle_.request.query;
  tw_tensor like = {};
  like.rank = rows.rank - 1;
  for (int i = 0; i < like.rank; ++i) like.shape[i] = rows.shape[i];
  std::swap(like.shape[like.rank - 1], like.shape[like.rank - 2]);  // heads, then queries
  const int32_t dtype = rows.dtype == TW_FLOAT64 ? TW_FLOAT64 : TW_FLOAT32;
  const bool is_whole = bundle_.options.queries == nullptr;
  Reference shape = shape_of(like, false);
  Reference lse;
  if (is_whole && dtype == rows.dtype && framework_->has_storages && shape) {
    lse = PyObject_CallMethodObjArgs(query, names().new_empty, shape.get(), nullptr);  // 1 us less
  } else {
    lse = make(query, std::move(shape), dtype, is_whole ? Fill::kNothing : Fill::kMinusInfinity);
  }
  return lse && put(kLseOut, lse.get(), true) ? std::move(lse) : nullptr;
}

Reference Call::make_gradient(int which, PyObject* like) {
  constexpr int kOf[] = {kQuery, kKey, kValue};
  const tw_options& options = bundle_.options;
  const bool is_query = which == 0, is_rows = which < 3;
  const bool is_whole =
      !is_rows ||
      (is_query ? options.queries == nullptr : options.keys == nullptr && options.cache == nullptr);
  Reference gradient;
  if (is_rows && (!is_whole || default_dtype(place(kOf[which]).dtype) != place(kOf[which]).dtype)) {
    const tw_tensor& rows = place(kOf[which]);
    gradient = make(like, shape_of(rows, (flags_ & kHeadsFirst) != 0), default_dtype(rows.dtype),
                    is_whole ? Fill::kNothing : Fill::kZero);
  } else {
    gradient = PyObject_CallFunctionObjArgs(framework_->empty_like, like, nullptr);
  }
  return gradient && put(kFirstGradient + which, gradient.get(), true) ? std::move(gradient)
                                                                       : nullptr;
}

bool Call::fill(tw_execution& execution) const {
  execution.size = sizeof execution;
  execution.device = device_;
  const int32_t threads = bundle_.form.threads;
  execution.threads = threads != 0 ? threads : static_cast<int32_t>(flags_ >> kThreadsShift);
  if (device_.kind == TW_CPU) return true;
  execution.device_tables = 1;
  if (framework_->exchange != nullptr && framework_->exchange->current_stream != nullptr)
    return framework_->exchange->current_stream(dlpack::kCuda, device_.index, &execution.stream) ==
           0;
  if (framework_->stream == nullptr) return true;
  const Reference stream =
      PyObject_CallFunction(framework_->stream, "i", static_cast<int>(device_.index));
  if (stream) execution.stream = PyLong_AsVoidPtr(stream.get());
  return PyErr_Occurred() == nullptr;
}

bool Call::run(tw_operation operation, PyObject* query) {
  tw_execution execution = {};
  if (!fill(execution)) return false;
  if (operation == TW_BACKWARD) {
    bundle_.gradients.size = sizeof(tw_gradients);
    bundle_.request.gradients = &bundle_.gradients;
  }
  return device_.kind == TW_CPU ? run_on_host(operation, execution)
                                : run_on_device(operation, execution, query);
}

template <class Request>
bool Call::run_plain(tw_status (*function)(const Request*, const tw_execution*, char*, size_t),
                     const Request& request) {
  tw_execution execution = {};
  if (!fill(execution)) return false;
  char message[2048] = "";
  tw_status status = TW_OK;
  Py_BEGIN_ALLOW_THREADS;
  status = function(&request, &execution, message, sizeof message);
  Py_END_ALLOW_THREADS;
  return ended(status, message);
}

Reference Call::make_rotated(int slot, PyObject* like) {
  const tw_tensor& rows = place(slot);
  if (rows.rank < 3) return nullptr;
  const bool is_whole = bundle_.options.queries == nullptr;
  if (is_whole && default_dtype(rows.dtype) == rows.dtype)
    return PyObject_CallFunctionObjArgs(framework_->empty_like, like, nullptr);
  return make(like, shape_of(rows, false), default_dtype(rows.dtype),
              is_whole ? Fill::kNothing : Fill::kZero);
}

bool Call::run_rotary() {
  tw_rotary_request& request = bundle_.rotary;
  request.size = sizeof request;
  bundle_.rotation.size = sizeof(tw_rotation);
  bundle_.rotation.interleaved = (flags_ & kInterleaved) != 0 ? 1 : 0;
  request.rotation = &bundle_.rotation;
  request.sequences = bundle_.options.queries;
  request.fixed = (flags_ & kFixed) != 0 ? 1 : 0;
  request.inverse = (flags_ & kInverse) != 0 ? 1 : 0;
  return run_plain(library().rotary, request);
}

bool Call::run_append() {
  tw_append_request& request = bundle_.append;
  request.size = sizeof request;
  if (bundle_.rotation.cosine.rank != 0) {
    bundle_.rotation.size = sizeof(tw_rotation);
    bundle_.rotation.interleaved = (flags_ & kInterleaved) != 0 ? 1 : 0;
    request.rotation = &bundle_.rotation;
  }
  request.keys = bundle_.options.keys;
  request.queries = bundle_.options.queries;
  request.cache = bundle_.options.cache;
  request.fixed_query = (flags_ & kFixed) != 0 ? 1 : 0;
  return run_plain(library().append, request);
}

bool Call::run_on_host(tw_operation operation, tw_execution& execution) const {
  Answer answer;
  Py_BEGIN_ALLOW_THREADS;
  fast::run_on_host(operation, bundle_.request, execution, answer);
  Py_END_ALLOW_THREADS;
  if (answer.is_out_of_memory) return PyErr_NoMemory() != nullptr;
  return ended(answer.status, answer.message);
}

bool Call::run_on_device(tw_operation operation, tw_execution& execution, PyObject* query) {
  const Function function = operation == TW_FORWARD ? library().forward : library().backward;
  const auto* request = &bundle_.request;
  char message[2048] = "";
  size_t bytes = 0;
  tw_status status =
      library().workspace(operation, request, &execution, &bytes, message, sizeof message);
  if (status != TW_OK) return ended(status, message);
  Workspace workspace;
  if (!workspace.take_on_device(*framework_, query, bytes, execution)) return false;
  Py_BEGIN_ALLOW_THREADS;
  status = function(request, &execution, message, sizeof message);
  Py_END_ALLOW_THREADS;
  return ended(status, message);
}

}  // namespace tilewise::fast
