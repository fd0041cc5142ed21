// A thousand runs of a call give the same bits, whatever else the GPU does meanwhile.
#include <algorithm>
#include <memory>

#include "cuda_device/numbers.h"
#include "cuda_device/twins.h"

namespace tilewise::gpu {
namespace {

constexpr int kRuns = 1000;

// Calls of several sizes on a stream of their own, so that blocks find other neighbours each time.
class Load {
 public:
  Load() {
    for (const Sizes& sizes : {Sizes{1, 700, 700, 6, 6, 64}, Sizes{3, 90, 2000, 4, 4, 128}}) {
      Other& other = others_.emplace_back();
      other.tensors = std::make_unique<Attention>(sizes);
      other.where = on_device(stream_.get());
      std::size_t& bytes = other.where.workspace_bytes;
      const Request& request = other.tensors->request;
      must(workspace(TW_FORWARD, request, bytes, other.where).code, "a question");
      other.room = std::make_unique<Block>(bytes + 1);
      other.where.workspace = other.room->at(0);
    }
  }
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;
  ~Load() { driver().wait(stream_.get()); }

  // Enqueues from none to four calls.
  void change(int turn) {
    if (turn % 50 == 0) must(driver().wait(stream_.get()), "to wait for the load");
    for (int n = 0; n < turn % 5; ++n) {
      const Other& other = others_[static_cast<std::size_t>((turn + n) % 2)];
      must(forward(other.tensors->request, other.where).code, "a call beside");
    }
  }

 private:
  struct Other {
    std::unique_ptr<Attention> tensors;
    std::unique_ptr<Block> room;
    Execution where;
  };
  Stream stream_;
  std::vector<Other> others_;
};

class Repeats : public GpuTest {
 protected:
  // Empty if each run gives the bits of the first. Results are overwritten before each run.
  static std::string difference_of_runs(tw_operation operation, const Request& request) {
    std::string said = run(operation, request);
    if (!said.empty()) return said;
    const std::vector<Tensor> results = Attention::results(request, operation);
    const std::vector<Bytes> first = all_of(results);
    for (const Bytes& each : first)
      if (each == Bytes(each.size(), 0xFF)) return "Nothing was written.";
    const Stream stream;
    Execution where = on_device(stream.get());
    must(workspace(operation, request, where.workspace_bytes, where).code, "a question");
    const Block room(where.workspace_bytes + 1);
    where.workspace = room.at(0);
    Load load;
    for (int turn = 0; turn < kRuns; ++turn) {
      for (const Tensor& each : results) blank(each);
      load.change(turn);
      const Status status =
          operation == TW_BACKWARD ? backward(request, where) : forward(request, where);
      must(driver().wait(stream.get()), "to wait");
      if (!status.ok()) return status.message;
      if (all_of(results) != first) return "Run " + std::to_string(turn) + " differs.";
    }
    return "";
  }

  static void expect_same_bits(tw_operation operation, const Request& request) {
    EXPECT_EQ(difference_of_runs(operation, request), "");
  }

  static std::vector<Bytes> all_of(const std::vector<Tensor>& results) {
    std::vector<Bytes> all(results.size());
    std::transform(results.begin(), results.end(), all.begin(), read);
    return all;
  }

  // The backward call of what forward left.
  static Request turned(const Attention& drawn) {
    EXPECT_EQ(run(TW_FORWARD, drawn.request), "");
    Request request = drawn.request;
    request.gradients = drawn.gradients;
    request.deterministic = true;
    return request;
  }

  static void add_features(Attention& drawn, std::int64_t heads) {
    drawn.request.scores.softcap = 20;
    drawn.request.dropout = {.probability = 0.2, .seed = 5};
    Tensor slopes = drawn.more(TW_FLOAT32, {heads});
    const std::vector<float> numbers(static_cast<std::size_t>(heads), 0.125F);
    const auto* begin = reinterpret_cast<const unsigned char*>(numbers.data());
    write(slopes, Bytes(begin, begin + numbers.size() * sizeof(float)));
    drawn.request.scores.slopes = slopes;
  }
};

TEST_F(Repeats, OfForward) {
  Attention drawn({2, 300, 333, 4, 2, 128});
  drawn.request.mask = causal();
  expect_same_bits(TW_FORWARD, drawn.request);
}

TEST_F(Repeats, OfForwardInSplits) {
  const Attention drawn({2, 1, 4000, 8, 2, 128});
  expect_same_bits(TW_FORWARD, drawn.request);
}

TEST_F(Repeats, OfForwardWithFeatures) {
  Attention drawn({1, 200, 260, 4, 4, 64});
  add_features(drawn, 4);
  expect_same_bits(TW_FORWARD, drawn.request);
}

TEST_F(Repeats, OfBackwardInOrder) {
  Attention drawn({2, 300, 333, 4, 2, 64});
  drawn.request.mask = causal();
  expect_same_bits(TW_BACKWARD, turned(drawn));
}

TEST_F(Repeats, OfBackwardInOrderAtTheWidestHeads) {
  const Attention drawn({1, 200, 260, 2, 2, 256});
  expect_same_bits(TW_BACKWARD, turned(drawn));
}

TEST_F(Repeats, OfBackwardInOrderWithFeatures) {
  Attention drawn({1, 200, 260, 4, 2, 128});
  add_features(drawn, 4);
  Request request = turned(drawn);
  request.gradients.slopes = drawn.more(TW_FLOAT32, {4});
  expect_same_bits(TW_BACKWARD, request);
}

}  // namespace
}  // namespace tilewise::gpu
