/* One attention whose result is known beforehand: a query that sees one key gets its value. */
#include <stdio.h>
#include <string.h>
#include <tilewise/tilewise.h>

static tw_tensor tensor(float* data, int64_t dim) {
  tw_tensor view = {0};
  view.data = data;
  view.rank = 4;
  view.dtype = TW_FLOAT32;
  for (int i = 0; i < 4; ++i) {
    view.shape[i] = i == 3 ? dim : 1;
    view.stride[i] = i == 3 ? 1 : dim;
  }
  return view;
}

int main(void) {
  float query[2] = {1, 2}, key[2] = {3, 4}, value[3] = {5, 6, 7}, output[3] = {0, 0, 0};
  char message[256] = "";
  tw_request request = {0};
  request.size = sizeof request;
  request.query = tensor(query, 2);
  request.key = tensor(key, 2);
  request.value = tensor(value, 3);
  request.output = tensor(output, 3);

  static _Alignas(64) unsigned char workspace[1 << 20];
  tw_execution execution = {0};
  execution.size = sizeof execution;
  execution.workspace = workspace;
  size_t bytes = 0;
  if (tw_workspace(TW_FORWARD, &request, &execution, &bytes, message, sizeof message) != TW_OK ||
      bytes > sizeof workspace) {
    fprintf(stderr, "tw_workspace: %s (%zu bytes)\n", message, bytes);
    return 1;
  }
  execution.workspace_bytes = bytes;
  if (tw_forward(&request, &execution, message, sizeof message) != TW_OK) {
    fprintf(stderr, "tw_forward: %s\n", message);
    return 1;
  }
  if (memcmp(output, value, sizeof value) != 0) {
    fprintf(stderr, "output is %g %g %g\n", output[0], output[1], output[2]);
    return 1;
  }
  printf("tilewise %s\n", tw_version());
  return 0;
}
