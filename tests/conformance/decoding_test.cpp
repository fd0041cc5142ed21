// A cache filled step by step, with rotary embedding, gives what one call over everything gives.
#include <gtest/gtest.h>

#include <vector>

#include "conformance/device.h"
#include "conformance/field.h"
#include "conformance/rotation.h"
#include "oracle/attention.h"
#include "oracle/rotary.h"

namespace tilewise::conformance {
namespace {

constexpr std::int64_t kLength = 37, kHeads = 4, kKeyHeads = 2, kDim = 10, kValueDim = 6;
constexpr std::int64_t kPageSize = 8, kColumns = 5, kPages = 7;

struct Decoder {
  Field key_cache = Field::dense(TW_FLOAT64, {kPages, kPageSize, kKeyHeads, kDim});
  Field value_cache = Field::dense(TW_FLOAT64, {kPages, kPageSize, kKeyHeads, kValueDim});
  Field page_table = Field::dense(TW_INT32, {1, kColumns});
  Field length = Field::dense(TW_INT64, {1});
};

// Rows first .. first + count - 1 of (length, heads, dim), as a batch of one.
Field slice(const oracle::Tensor& whole, std::int64_t first, std::int64_t count) {
  Field field = Field::dense(TW_FLOAT64, {1, count, whole.shape[1], whole.shape[2]});
  for (std::int64_t t = 0; t < count; ++t) {
    for (std::int64_t h = 0; h < whole.shape[1]; ++h) {
      for (std::int64_t d = 0; d < whole.shape[2]; ++d) {
        field.write({0, t, h, d}, whole.at(first + t, h, d));
      }
    }
  }
  return field;
}

tw_cache cache_of(const Decoder& decoder) {
  tw_cache cache{};
  cache.size = sizeof cache;
  cache.page_table = decoder.page_table.view();
  return cache;
}

void append(Decoder& decoder, const oracle::Attention& whole, const Tables& tables,
            std::int64_t first, Field& rotated_query) {
  const std::int64_t count = rotated_query.size(1);
  const Field query = slice(whole.query, first, count), key = slice(whole.key, first, count),
              value = slice(whole.value, first, count);
  const tw_cache cache = cache_of(decoder);
  const tw_rotation rotation = tables.view();
  decoder.length.write({0}, static_cast<double>(first));
  tw_append_request request{};
  request.size = sizeof request;
  request.key = key.view();
  request.value = value.view();
  request.key_cache = decoder.key_cache.view();
  request.value_cache = decoder.value_cache.view();
  request.lengths = decoder.length.view();
  request.cache = &cache;
  request.rotation = &rotation;
  request.query = query.view();
  request.rotated_query = rotated_query.view();
  char message[512] = "";
  const tw_execution where = where_calls_run();
  ASSERT_EQ(tw_append(&request, &where, message, sizeof message), TW_OK) << message;
  wait_for_device();
}

void attend(Decoder& decoder, const Field& query, std::int64_t used, Field& output) {
  const tw_cache cache = cache_of(decoder);
  decoder.length.write({0}, static_cast<double>(used));
  tw_sequences keys{};
  keys.size = sizeof keys;
  keys.used = decoder.length.view();
  tw_mask mask{};
  mask.size = sizeof mask;
  mask.has_right = 1;
  tw_options options{};
  options.size = sizeof options;
  options.mask = &mask;
  options.keys = &keys;
  options.cache = &cache;
  tw_request request{};
  request.size = sizeof request;
  request.query = query.view();
  request.key = decoder.key_cache.view();
  request.value = decoder.value_cache.view();
  request.output = output.view();
  request.options = &options;
  char message[512] = "";
  std::size_t bytes = 0;
  tw_execution execution = where_calls_run();
  ASSERT_EQ(tw_workspace(TW_FORWARD, &request, &execution, &bytes, message, sizeof message), TW_OK)
      << message;
  Guarded workspace(bytes, Guarded::Flush::kEnd);
  execution.workspace = workspace.data();
  execution.workspace_bytes = bytes;
  ASSERT_EQ(tw_forward(&request, &execution, message, sizeof message), TW_OK) << message;
  wait_for_device();
}

oracle::Attention draw_whole(oracle::Random& random) {
  oracle::Attention whole;
  whole.query = oracle::Tensor({kLength, kHeads, kDim});
  whole.key = oracle::Tensor({kLength, kKeyHeads, kDim});
  whole.value = oracle::Tensor({kLength, kKeyHeads, kValueDim});
  for (oracle::Tensor* each : {&whole.query, &whole.key, &whole.value}) {
    for (double& value : each->values) value = random.normal();
  }
  whole.band.right = 0;
  return whole;
}

TEST(Decoding, StepByStepGivesWhatOneCallGives) {
  constexpr std::int64_t kSteps[] = {7, 1, 1, 8, 1, 2, 16, 1};
  oracle::Random random(13);
  const oracle::Attention whole = draw_whole(random);
  const Tables tables(kDim, kLength, random);

  oracle::Attention rotated = whole;
  std::vector<std::int64_t> positions;
  for (std::int64_t t = 0; t < kLength; ++t) positions.push_back(t);
  rotated.query = oracle::rotate(whole.query, tables.oracle(), positions);
  rotated.key = oracle::rotate(whole.key, tables.oracle(), positions);
  const oracle::Result want = oracle::forward(rotated);

  Decoder decoder;
  constexpr std::int64_t kOrder[kColumns] = {4, 0, 6, 2, 5};
  for (std::int64_t column = 0; column < kColumns; ++column) {
    decoder.page_table.write({0, column}, static_cast<double>(kOrder[column]));
  }
  std::int64_t first = 0;
  for (const std::int64_t count : kSteps) {
    Field query = Field::dense(TW_FLOAT64, {1, count, kHeads, kDim});
    Field output = Field::dense(TW_FLOAT64, {1, count, kHeads, kValueDim});
    append(decoder, whole, tables, first, query);
    attend(decoder, query, first + count, output);
    for (std::int64_t t = 0; t < count; ++t) {
      for (std::int64_t h = 0; h < kHeads; ++h) {
        for (std::int64_t d = 0; d < kValueDim; ++d) {
          ASSERT_NEAR(output.read({0, t, h, d}), want.output.at(first + t, h, d), 1e-13)
              << "row " << first + t;
        }
      }
    }
    first += count;
  }
  EXPECT_EQ(first, kLength);
}

}  // namespace
}  // namespace tilewise::conformance
