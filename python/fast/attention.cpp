#include "python/fast/attention.h"

namespace tilewise::fast {
namespace {

bool put_rows(Call& call, const Asked& asked) {
  return call.put(kQuery, asked.query) && call.put(kKey, asked.key) &&
         call.put(kValue, asked.value);
}

}  // namespace

Reference attend(const Asked& asked, PyObject* out, PyObject* lse) {
  Call call;
  if (!call.begin(asked.form, asked.flags) || !put_rows(call, asked)) return nullptr;
  if (!call.put_all(asked.pairs) || !call.is_shaped()) return nullptr;
  Reference output = out == Py_None ? call.make_output(asked.query) : share(out);
  if (!output || (out != Py_None && !call.put(kOut, out))) return nullptr;
  const Reference row = lse == Py_True ? call.make_lse(asked.query) : share(lse);
  if (!row || (lse != Py_True && lse != Py_None && !call.put(kLseOut, lse))) return nullptr;
  if (!call.run(TW_FORWARD, asked.query)) return nullptr;
  if (lse != Py_True) return output;
  return PyTuple_Pack(2, output.get(), row.get());
}

bool differentiate(const Asked& asked, const Arrived& arrived, const Wanted& wanted,
                   Gradients& found) {
  Call call;
  if (!call.begin(asked.form, asked.flags) || !put_rows(call, asked)) return false;
  if (!call.put(kOutput, arrived.output) || !call.put(kLse, arrived.lse) ||
      !call.put(kOutputGradient, arrived.output_gradient))
    return false;
  if (!call.put_all(asked.pairs) || !call.is_shaped()) return false;
  PyObject* const rows[] = {asked.query, asked.key, asked.value};
  for (int i = 0; i < kGradientCount; ++i) {
    if ((wanted.bits >> i & 1) == 0) {
      found[i] = share(Py_None);
      continue;
    }
    PyObject* like = i < 3 ? rows[i] : PyTuple_GetItem(wanted.likes, i - 3);  // borrowed
    if (like == nullptr) return false;
    found[i] = call.make_gradient(i, like);
    if (!found[i]) return false;
  }
  return call.run(TW_BACKWARD, asked.query);
}

}  // namespace tilewise::fast
