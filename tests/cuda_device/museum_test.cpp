// Sizes at which kernels of others have failed, on the tensor cores: elements past 2^31, views that
// repeat memory, more tiles and heads than a grid's second dimension has, and graphs that are
// replayed with other lengths. The same numbers in another place, or a part of them alone, must
// give the same bits.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "cuda_device/numbers.h"
#include "cuda_device/twins.h"

namespace tilewise::gpu {
namespace {

constexpr std::int64_t kMany = 70000;             // more than 65535
constexpr std::int64_t kLong = 65536 * 128 + 99;  // rows of more tiles than that

class Museum : public GpuTest {};

void expect_same(const std::vector<Tensor>& some, const std::vector<Tensor>& others) {
  ASSERT_EQ(some.size(), others.size());
  for (std::size_t n = 0; n < some.size(); ++n) {
    const Bytes bytes = read(some[n]);
    EXPECT_NE(bytes, Bytes(bytes.size(), 0xFF)) << "nothing was written";
    EXPECT_TRUE(bytes == read(others[n])) << "result " << n;
  }
}

// Where rows of all tensors lie: strides of batch, row and head in elements, and how far one tensor
// begins behind the one before.
struct Layout {
  const char* name;
  std::int64_t batch, row, head, tensor;
};

// A dense tensor's numbers at such strides.
Tensor moved(const Tensor& near, const Layout& layout, const Block& memory, int& place) {
  Tensor far = near;
  far.data = memory.at(static_cast<std::size_t>(layout.tensor * place++) * 2);
  far.stride[0] = layout.batch;
  far.stride[1] = layout.row;
  far.stride[2] = layout.head;
  write(far, read(near));
  return far;
}

TEST_F(Museum, ElementsPastTwoToTheThirtyOne) {
  constexpr std::int64_t kFar = (std::int64_t{1} << 31) + 4096, kRow = std::int64_t{1} << 25;
  const Sizes sizes{2, 70, 80, 2, 2, 64};
  const Block memory(static_cast<std::size_t>(sizes.keys * kRow * 2));
  if (!memory.is_there()) GTEST_SKIP() << "This GPU has no 5 GB left, and this test needs them.";
  Attention near(sizes);
  near.request.mask = causal();
  near.request.deterministic = true;
  for (const Layout& layout :
       {Layout{"batch", kFar, 128, 64, 1 << 14}, Layout{"row", 128, kRow, 64, 1 << 10},
        Layout{"head", 80 * 64, 64, kFar, 1 << 14}}) {
    SCOPED_TRACE(layout.name);
    Request request = near.request;
    ASSERT_EQ(run(TW_FORWARD, request), "");
    int place = 0;
    Request far = request;
    for (Tensor Request::*each : {&Request::query, &Request::key, &Request::value})
      far.*each = moved(request.*each, layout, memory, place);
    blank(request.output);
    far.output = moved(request.output, layout, memory, place);
    ASSERT_EQ(run(TW_FORWARD, request), "");
    ASSERT_EQ(run(TW_FORWARD, far), "");
    expect_same({far.output}, {request.output});

    request.gradients = near.gradients;
    far.gradients = near.gradients;
    for (Tensor Gradients::*each :
         {&Gradients::output, &Gradients::query, &Gradients::key, &Gradients::value})
      far.gradients.*each = moved(near.gradients.*each, layout, memory, place);
    ASSERT_EQ(run(TW_BACKWARD, request), "");
    ASSERT_EQ(run(TW_BACKWARD, far), "");
    expect_same(Attention::results(far, TW_BACKWARD), Attention::results(request, TW_BACKWARD));
    for (const Tensor& each : Attention::results(request, TW_BACKWARD)) blank(each);
  }
}

// One key seen as 2^26 keys, by a stride of 0: the output is its value, and the lse counts them.
TEST_F(Museum, AViewThatRepeatsOneKey) {
  constexpr std::int64_t kKeys = std::int64_t{1} << 26;
  Attention drawn({1, 16, 1, 2, 1, 64});
  Request request = drawn.request;
  // Powers of two: so many sums of them are exact.
  Bytes powers(64 * 2);
  for (std::size_t n = 0; n < 64; ++n) {
    const std::uint16_t power = static_cast<std::uint16_t>((125 + n % 5) << 7);
    std::memcpy(powers.data() + 2 * n, &power, sizeof power);
  }
  write(request.value, powers);
  ASSERT_EQ(run(TW_FORWARD, request), "");
  const Bytes output = read(request.output), lse = read(request.lse);
  for (Tensor* each : {&request.key, &request.value}) {
    each->shape[1] = kKeys;
    each->stride[1] = 0;
  }
  blank(request.output);
  ASSERT_EQ(run(TW_FORWARD, request), "");
  EXPECT_TRUE(read(request.output) == output);
  const Bytes counted = read(request.lse);
  for (std::size_t n = 0; n < lse.size(); n += sizeof(float)) {
    float one = 0, many = 0;
    std::memcpy(&one, lse.data() + n, sizeof one);
    std::memcpy(&many, counted.data() + n, sizeof many);
    EXPECT_NEAR(many - one, std::log(static_cast<double>(kKeys)), 1e-4);
  }
}

// Expects that the part of a call from index `first` of `axis` on, computed alone, has the same
// bits.
void expect_last_part(const Attention& whole, Attention& own, tw_operation operation,
                      std::int64_t first, int axis) {
  Request request = whole.request, part = own.request;
  if (operation == TW_BACKWARD) {
    request.gradients = whole.gradients;
    part.gradients = own.gradients;
    request.deterministic = part.deterministic = true;
  }
  const auto cut = [&](const Tensor& tensor, int at) {
    return tensor.rank == 0 ? tensor : part_of(tensor, at, first, tensor.shape[at] - first);
  };
  ASSERT_EQ(run(operation, request), "");
  part.query = cut(request.query, axis);
  part.key = cut(request.key, axis);
  part.value = cut(request.value, axis);
  const int lse_axis = axis == 0 ? 0 : 1;  // (batch, heads, queries)
  std::vector<Tensor> wanted{cut(request.output, axis), cut(request.lse, lse_axis)};
  if (operation == TW_BACKWARD) {
    part.output = wanted[0];
    part.lse = wanted[1];
    part.gradients.output = cut(request.gradients.output, axis);
    wanted.clear();
    for (const Tensor& each : Attention::results(request, operation))
      wanted.push_back(cut(each, axis));
  }
  ASSERT_EQ(run(operation, part), "");
  expect_same(Attention::results(part, operation), wanted);
}

TEST_F(Museum, ManySequences) {
  const Attention whole({kMany, 3, 5, 1, 1, 64});
  Attention own({100, 3, 5, 1, 1, 64});
  for (const tw_operation operation : {TW_FORWARD, TW_BACKWARD})
    expect_last_part(whole, own, operation, kMany - 100, 0);
}

TEST_F(Museum, ManyHeads) {
  const Attention whole({1, 9, 11, kMany, kMany, 32});
  Attention own({1, 9, 11, 100, 100, 32});
  for (const tw_operation operation : {TW_FORWARD, TW_BACKWARD})
    expect_last_part(whole, own, operation, kMany - 100, 2);
}

TEST_F(Museum, ManyTilesOfQueries) {
  constexpr std::int64_t kFirst = (kLong / 128 - 4) * 128;
  const Attention whole({1, kLong, 16, 1, 1, 8}, Attention::Part::kForward);
  Attention own({1, kLong - kFirst, 16, 1, 1, 8}, Attention::Part::kForward);
  ASSERT_EQ(run(TW_FORWARD, whole.request), "");
  Request part = own.request;
  part.query = part_of(whole.request.query, 1, kFirst, kLong - kFirst);
  part.key = whole.request.key;
  part.value = whole.request.value;
  ASSERT_EQ(run(TW_FORWARD, part), "");
  expect_same({part.output, part.lse}, {part_of(whole.request.output, 1, kFirst, kLong - kFirst),
                                        part_of(whole.request.lse, 2, kFirst, kLong - kFirst)});
}

// A key's gradients depend on no other key, once lse and output are given.
TEST_F(Museum, ManyTilesOfKeys) {
  constexpr std::int64_t kFirst = (kLong / 128 - 4) * 128, kCount = kLong - kFirst;
  const Attention whole({1, 16, kLong, 1, 1, 8});
  Attention own({1, 16, kCount, 1, 1, 8});
  Request request = whole.request;
  draw(request.output, 9);
  write(request.lse, Bytes(bytes_of(request.lse), 0));
  request.gradients = whole.gradients;
  request.deterministic = true;
  ASSERT_EQ(run(TW_BACKWARD, request), "");
  Request part = request;
  part.key = part_of(request.key, 1, kFirst, kCount);
  part.value = part_of(request.value, 1, kFirst, kCount);
  part.gradients.query = own.gradients.query;
  part.gradients.key = own.gradients.key;
  part.gradients.value = own.gradients.value;
  ASSERT_EQ(run(TW_BACKWARD, part), "");
  expect_same({part.gradients.key, part.gradients.value},
              {part_of(request.gradients.key, 1, kFirst, kCount),
               part_of(request.gradients.value, 1, kFirst, kCount)});
}

// Both directions in one graph, replayed when offsets say other lengths.
TEST_F(Museum, AGraphIsReplayedWithOtherLengths) {
  constexpr std::int64_t kTokens = 700, kLongest = 400;
  Attention drawn({1, kTokens, kTokens, 4, 2, 128});
  Request request = drawn.request;
  const auto pack = [](Tensor& tensor) {
    if (tensor.rank != 4) return;
    tensor = dense(tensor.data, TW_BFLOAT16, {tensor.shape[1], tensor.shape[2], tensor.shape[3]});
  };
  request.gradients = drawn.gradients;
  for (Tensor* each :
       {&request.query, &request.key, &request.value, &request.output, &request.gradients.output,
        &request.gradients.query, &request.gradients.key, &request.gradients.value})
    pack(*each);
  request.lse = dense(request.lse.data, TW_FLOAT32, {4, kTokens});
  const Tensor offsets = drawn.more(TW_INT32, {4});
  request.queries = request.keys = {.offsets = offsets, .max_length = kLongest};
  request.mask = causal();
  request.deterministic = true;
  Request forward_request = request;
  forward_request.gradients = {};
  const auto say = [&](const std::int32_t(&numbers)[4]) {
    Bytes bytes(sizeof numbers);
    std::memcpy(bytes.data(), numbers, sizeof numbers);
    write(offsets, bytes);
  };
  const std::int32_t lengths[][4] = {{0, 100, 300, 700}, {0, 400, 401, 700}, {0, 0, 333, 600}};
  say(lengths[0]);

  const Stream stream;
  Execution ahead = on_device(stream.get()), back = ahead;
  ASSERT_TRUE(workspace(TW_FORWARD, forward_request, ahead.workspace_bytes, ahead).ok());
  ASSERT_TRUE(workspace(TW_BACKWARD, request, back.workspace_bytes, back).ok());
  const Block ahead_room(ahead.workspace_bytes + 1), back_room(back.workspace_bytes + 1);
  ahead.workspace = ahead_room.at(0);
  back.workspace = back_room.at(0);
  ASSERT_TRUE(prepare(TW_FORWARD, forward_request, ahead).ok());
  ASSERT_TRUE(prepare(TW_BACKWARD, request, back).ok());
  Handle graph = nullptr, running = nullptr;
  must(started().begin_capture(stream.get(), 0), "to begin a capture");
  const Status first = forward(forward_request, ahead), second = backward(request, back);
  must(driver().end_capture(stream.get(), &graph), "to end the capture");
  ASSERT_TRUE(first.ok()) << first.message;
  ASSERT_TRUE(second.ok()) << second.message;
  must(driver().instantiate(&running, graph, 0), "to instantiate the graph");

  std::vector<Tensor> results = Attention::results(request, TW_BACKWARD);
  results.push_back(request.output);
  std::vector<Bytes> before;
  for (const auto& said : lengths) {
    say(said);
    for (const Tensor& each : results) blank(each);
    must(driver().launch_graph(running, stream.get()), "to launch the graph");
    must(driver().wait(stream.get()), "to wait");
    std::vector<Bytes> replayed(results.size());
    std::transform(results.begin(), results.end(), replayed.begin(), read);
    EXPECT_TRUE(replayed != before) << "a replay that saw the lengths before";
    before = replayed;
    for (const Tensor& each : results) blank(each);
    ASSERT_EQ(run(TW_FORWARD, forward_request), "");
    ASSERT_EQ(run(TW_BACKWARD, request), "");
    for (std::size_t n = 0; n < results.size(); ++n)
      EXPECT_TRUE(replayed[n] == read(results[n])) << "result " << n;
  }
}

}  // namespace
}  // namespace tilewise::gpu
