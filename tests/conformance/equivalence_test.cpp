// One attention, expressed in two ways, must give the same results within rounding: sequences in a
// batch or alone, key heads grouped or repeated, the whole or parts, any strides, keys in any
// order.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "conformance/device.h"
#include "conformance/trial.h"

namespace tilewise::conformance {
namespace {

constexpr double kTight = 1e-13;

Case one_sequence(const Case& drawn, std::int64_t b) {
  Case alone = drawn;
  alone.batch = 1;
  alone.queries = dense_side(1, drawn.queries.length(b));
  alone.keys = dense_side(1, drawn.keys.length(b));
  alone.dropout.base[0] += b;  // it stays sequence b of the whole
  return alone;
}

// Copies sequence b of `whole` to `alone`.
void copy_sequence(const Trial& whole, std::int64_t b, Trial& alone) {
  for_each_query(alone.drawn, [&](std::int64_t, std::int64_t i, std::int64_t h) {
    for (std::int64_t d = 0; d < alone.drawn.dim; ++d) {
      alone.setup.query.write({0, i, h, d},
                              whole.setup.query.read(row_index(whole.drawn.queries, b, i, h, d)));
    }
  });
  for_each_key(alone.drawn, [&](std::int64_t, std::int64_t j, std::int64_t h) {
    const auto copy = [&](const Field& from, Field& to, std::int64_t dim) {
      for (std::int64_t d = 0; d < dim; ++d) {
        to.write({0, j, h, d}, from.read(row_index(whole.drawn.keys, b, j, h, d)));
      }
    };
    copy(whole.setup.key, alone.setup.key, alone.drawn.dim);
    copy(whole.setup.value, alone.setup.value, alone.drawn.value_dim);
  });
}

TEST(Equivalence, EachSequenceAloneGivesTheSame) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    Case drawn = draw_case(seed);
    drawn.run.is_scattered = false;
    drawn.dropout.by_state = false;
    drawn.scores.has_bias = drawn.scores.has_slopes = drawn.scores.has_sinks = false;
    drawn.mask.has_visible = drawn.mask.has_blocks = false;
    drawn.dropout.base[0] = 5;
    Trial whole(drawn);
    whole.forward();
    for (std::int64_t b = 0; b < drawn.batch; ++b) {
      Trial alone(one_sequence(drawn, b));
      copy_sequence(whole, b, alone);
      alone.forward();
      for_each_query(alone.drawn, [&](std::int64_t, std::int64_t i, std::int64_t h) {
        const double lse = alone.lse(0, i, h);
        ASSERT_TRUE(lse == whole.lse(b, i, h) || std::fabs(lse - whole.lse(b, i, h)) < kTight)
            << drawn.describe();
        for (std::int64_t d = 0; d < drawn.value_dim; ++d) {
          ASSERT_NEAR(alone.output(0, i, h, d), whole.output(b, i, h, d), kTight)
              << drawn.describe();
        }
      });
    }
  }
}

TEST(Equivalence, RepeatedKeyHeadsGiveTheSameAsGroupedOnes) {
  constexpr std::int64_t kGroup = 3;
  const PlainSizes sizes{
      .batch = 2, .queries = 33, .keys = 40, .heads = 6, .key_heads = 2, .dim = 12, .value_dim = 7};
  PlainSizes repeated_sizes = sizes;
  repeated_sizes.key_heads = sizes.heads;
  Case grouped_case = plain_case(9, sizes, {});
  grouped_case.mask.band.right = 0;
  Case repeated_case = plain_case(9, repeated_sizes, {});
  repeated_case.mask = grouped_case.mask;
  Trial grouped(grouped_case), repeated(repeated_case);
  copy_numbers(grouped.setup.query, repeated.setup.query);
  copy_numbers(grouped.setup.gradients.output, repeated.setup.gradients.output);
  for_each_key(repeated_case, [&](std::int64_t b, std::int64_t j, std::int64_t h) {
    for (std::int64_t d = 0; d < sizes.dim; ++d) {
      repeated.setup.key.write({b, j, h, d}, grouped.setup.key.read({b, j, h / kGroup, d}));
    }
    for (std::int64_t d = 0; d < sizes.value_dim; ++d) {
      repeated.setup.value.write({b, j, h, d}, grouped.setup.value.read({b, j, h / kGroup, d}));
    }
  });
  for (Trial* each : {&grouped, &repeated}) {
    each->forward();
    each->backward();
  }
  EXPECT_LT(largest_difference(grouped.setup.output, repeated.setup.output), kTight);
  EXPECT_LT(largest_difference(grouped.setup.lse, repeated.setup.lse), kTight);
  EXPECT_LT(largest_difference(grouped.setup.gradients.query, repeated.setup.gradients.query),
            kTight);
  for_each_key(grouped_case, [&](std::int64_t b, std::int64_t j, std::int64_t h) {
    for (std::int64_t d = 0; d < sizes.dim; ++d) {
      double sum = 0;
      for (std::int64_t g = 0; g < kGroup; ++g) {
        sum += repeated.setup.gradients.key.read({b, j, h * kGroup + g, d});
      }
      ASSERT_NEAR(grouped.setup.gradients.key.read({b, j, h, d}), sum, kTight);
    }
  });
}

TEST(Equivalence, StridesDoNotMatter) {
  for (std::uint64_t seed = 401; seed <= 440; ++seed) {
    Case drawn = draw_case(seed);
    drawn.run.is_scattered = true;
    Trial scattered(drawn);
    drawn.run.is_scattered = false;
    Trial contiguous(drawn);
    const auto from = scattered.setup.inputs(), to = contiguous.setup.inputs();
    for (std::size_t n = 0; n < from.size(); ++n) copy_numbers(*from[n].second, *to[n].second);
    for (Trial* each : {&scattered, &contiguous}) {
      each->forward();
      each->backward();
    }
    for_each_query(drawn, [&](std::int64_t b, std::int64_t i, std::int64_t h) {
      for (std::int64_t d = 0; d < drawn.value_dim; ++d) {
        ASSERT_NEAR(scattered.output(b, i, h, d), contiguous.output(b, i, h, d), kTight)
            << drawn.describe();
      }
    });
    const GradientFields &a = scattered.setup.gradients, &b = contiguous.setup.gradients;
    const auto expect_row = [&](const Field& one, const Field& other, const Index& at) {
      if (one.absent()) return;
      ASSERT_NEAR(one.read(at), other.read(at), 1e-11) << drawn.describe();
    };
    for_each_query(drawn, [&](std::int64_t batch, std::int64_t i, std::int64_t h) {
      const double lse = scattered.lse(batch, i, h), other = contiguous.lse(batch, i, h);
      ASSERT_TRUE(lse == other || std::fabs(lse - other) < kTight) << drawn.describe();
      for (std::int64_t d = 0; d < drawn.dim; ++d) {
        expect_row(a.query, b.query, row_index(drawn.queries, batch, i, h, d));
      }
    });
    for_each_key(drawn, [&](std::int64_t batch, std::int64_t j, std::int64_t h) {
      for (std::int64_t d = 0; d < drawn.dim; ++d) {
        expect_row(a.key, b.key, row_index(drawn.keys, batch, j, h, d));
      }
      for (std::int64_t d = 0; d < drawn.value_dim; ++d) {
        expect_row(a.value, b.value, row_index(drawn.keys, batch, j, h, d));
      }
    });
    EXPECT_LT(largest_difference(a.bias, b.bias), 1e-10) << drawn.describe();
    EXPECT_LT(largest_difference(a.slopes, b.slopes), 1e-10) << drawn.describe();
    EXPECT_LT(largest_difference(a.sinks, b.sinks), 1e-10) << drawn.describe();
  }
}

// Expects equal results for keys in another order, also where tasks split the keys of few queries.
void expect_order_not_to_matter(std::int64_t queries, std::int64_t keys, std::int64_t heads = 2) {
  const PlainSizes sizes{.batch = 1,
                         .queries = queries,
                         .keys = keys,
                         .heads = heads,
                         .key_heads = 1,
                         .dim = 16,
                         .value_dim = 9};
  Case drawn = plain_case(10, sizes, {});
  if (heads > 1) drawn.scores.softcap = 1.5;
  drawn.scores.has_sinks = true;
  Trial sorted(drawn), shuffled(drawn);
  for (std::int64_t j = 0; j < keys; ++j) {
    const std::int64_t other = j * 37 % keys;
    for (std::int64_t d = 0; d < 16; ++d) {
      shuffled.setup.key.write({0, other, 0, d}, sorted.setup.key.read({0, j, 0, d}));
    }
    for (std::int64_t d = 0; d < 9; ++d) {
      shuffled.setup.value.write({0, other, 0, d}, sorted.setup.value.read({0, j, 0, d}));
    }
  }
  sorted.forward();
  shuffled.forward();
  EXPECT_LT(largest_difference(sorted.setup.output, shuffled.setup.output), kTight);
  EXPECT_LT(largest_difference(sorted.setup.lse, shuffled.setup.lse), kTight);
}

TEST(Equivalence, OrderOfKeysDoesNotMatter) {
  expect_order_not_to_matter(20, 101);
  expect_order_not_to_matter(20, 2503);
  expect_order_not_to_matter(2, 2503);
  // A single query whose scores are the products and no more.
  expect_order_not_to_matter(1, 2503, 1);
}

// Makes the request see only keys first .. last - 1, through views, under the mask and dropout that
// these keys have in the whole call. Takes the sinks away, because tw_merge adds them.
void restrict_keys(Request& request, const Case& drawn, std::int64_t first, std::int64_t last) {
  for (tw_tensor* each : {&request.request.key, &request.request.value}) {
    each->byte_offset += first * each->stride[1] * 8;
    each->shape[1] = last - first;
  }
  const std::int64_t keys = drawn.keys.extent(), queries = drawn.queries.extent();
  request.mask.diagonal = TW_SHIFTED;
  request.mask.shift = keys - queries - first;
  request.dropout.base[3] += first;
  request.scores.sinks = {};
}

Case split_case(std::uint64_t seed) {
  const PlainSizes sizes{
      .batch = 2, .queries = 21, .keys = 83, .heads = 4, .key_heads = 2, .dim = 10, .value_dim = 6};
  Case drawn = plain_case(seed, sizes, {});
  drawn.mask.band.left = 50;
  drawn.mask.band.right = 3;
  drawn.scores.has_sinks = drawn.scores.has_slopes = true;
  drawn.scores.softcap = 4;
  drawn.dropout = {.probability = 0.3, .seed = seed, .offset = 1, .base = {1, 2, 3, 4}};
  return drawn;
}

TEST(Equivalence, PartsOfTheKeysMergeIntoTheWhole) {
  const std::vector<std::vector<std::int64_t>> splits = {
      {0, 83}, {0, 1, 83}, {0, 40, 83}, {0, 16, 32, 33, 33, 70, 82, 83}};
  const Case drawn = split_case(11);
  Trial whole(drawn);
  whole.forward();
  for (const auto& split : splits) {
    std::vector<Trial> parts;
    parts.reserve(split.size());
    std::vector<tw_tensor> outputs, lses;
    for (std::size_t n = 0; n + 1 < split.size(); ++n) {
      Trial& part = parts.emplace_back(drawn);
      part.run(TW_FORWARD,
               [&](Request& request) { restrict_keys(request, drawn, split[n], split[n + 1]); });
      outputs.push_back(part.setup.output.view());
      lses.push_back(part.setup.lse.view());
    }
    Trial merged(drawn);
    tw_merge_request request{};
    request.size = sizeof request;
    request.outputs = outputs.data();
    request.lses = lses.data();
    request.parts = static_cast<std::int64_t>(outputs.size());
    request.sinks = merged.setup.scores.sinks.view();
    request.output = merged.setup.output.view();
    request.lse = merged.setup.lse.view();
    char message[512] = "";
    const tw_execution where = where_calls_run();
    ASSERT_EQ(tw_merge(&request, &where, message, sizeof message), TW_OK) << message;
    wait_for_device();
    EXPECT_LT(largest_difference(whole.setup.output, merged.setup.output), kTight);
    EXPECT_LT(largest_difference(whole.setup.lse, merged.setup.lse), kTight);
  }
}

TEST(Equivalence, PartsOfTheQueriesAreRowsOfTheWhole) {
  const Case drawn = split_case(12);
  Trial whole(drawn);
  whole.forward();
  for (const std::int64_t first : {0, 1, 7, 16, 20}) {
    Trial part(drawn);
    part.run(TW_FORWARD, [&](Request& request) {
      tw_tensor& query = request.request.query;
      query.byte_offset += first * query.stride[1] * 8;
      query.shape[1] -= first;
      request.shorten_output(first);
      request.mask.diagonal = TW_SHIFTED;
      request.mask.shift = drawn.keys.extent() - drawn.queries.extent() + first;
      request.dropout.base[2] += first;
    });
    for_each_query(drawn, [&](std::int64_t b, std::int64_t i, std::int64_t h) {
      if (i < first) return;
      ASSERT_NEAR(part.output(b, i - first, h, 2), whole.output(b, i, h, 2), kTight);
      ASSERT_NEAR(part.lse(b, i - first, h), whole.lse(b, i, h), kTight);
    });
  }
}

}  // namespace
}  // namespace tilewise::conformance
