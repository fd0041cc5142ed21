// tw_append to random caches, against the oracle.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "conformance/call.h"
#include "conformance/device.h"
#include "conformance/rotation.h"
#include "conformance/trial.h"
#include "conformance/untouched.h"
#include "oracle/rotary.h"

namespace tilewise::conformance {
namespace {

constexpr std::int64_t kMostRows = 400;

// New rows, the cache they go to, and queries to rotate with them.
struct Scene {
  Case fresh, cache;
  Setup fresh_setup, cache_setup;
  Field lengths;
  bool rotates = false, has_query = false, fixed_query = false;

  // The caches have the layout of outputs, because they are written.
  Field& keys() { return cache_setup.gradients.key; }
  Field& values() { return cache_setup.gradients.value; }
};

void draw_cache_places(SideCase& side, std::int64_t batch, std::int64_t rows,
                       oracle::Random& random) {
  constexpr std::int64_t kPageSizes[] = {1, 3, 8, 16};
  side.storage = std::array{Storage::kDense, Storage::kPaged,
                            Storage::kIndexed}[static_cast<std::size_t>(random.integer(0, 2))];
  std::int64_t columns = 1;
  if (side.storage == Storage::kPaged) {
    side.page_size = kPageSizes[random.integer(0, 3)];
    columns = (rows + side.page_size - 1) / side.page_size + random.integer(0, 1);
    columns = std::max<std::int64_t>(1, columns);
    rows = columns * side.page_size;
  }
  side.capacity.assign(static_cast<std::size_t>(batch), rows);
  if (!side.is_cache()) return;
  side.outer = batch * columns + random.integer(0, 2);
  side.places.resize(static_cast<std::size_t>(side.outer));
  std::iota(side.places.begin(), side.places.end(), 0);
  for (std::size_t n = 0; n + 1 < side.places.size(); ++n) {
    const auto pick = random.integer(static_cast<std::int64_t>(n), side.outer - 1);
    std::swap(side.places[n], side.places[static_cast<std::size_t>(pick)]);
  }
  side.places.resize(static_cast<std::size_t>(batch * columns));
}

Case draw_cache(const Case& fresh, oracle::Random& random) {
  Case cache = plain_case(fresh.seed,
                          {.batch = fresh.batch,
                           .queries = 1,
                           .keys = 1,
                           .heads = fresh.key_heads,
                           .key_heads = fresh.key_heads,
                           .dim = fresh.dim,
                           .value_dim = fresh.value_dim},
                          {});
  cache.run.is_scattered = true;
  std::int64_t longest = 0;
  for (std::int64_t b = 0; b < fresh.batch; ++b) {
    longest = std::max(longest, fresh.keys.length(b));
  }
  SideCase& side = cache.keys;
  side = {};
  side.has_used = true;
  draw_cache_places(side, fresh.batch, longest + random.integer(0, 20), random);
  for (std::int64_t b = 0; b < fresh.batch; ++b) {
    const std::int64_t capacity = side.capacity[static_cast<std::size_t>(b)];
    side.start.push_back(0);
    side.end.push_back(random.integer(0, capacity - fresh.keys.length(b)));
  }
  return cache;
}

Scene draw_scene(std::uint64_t seed) {
  oracle::Random random(seed);
  Scene scene;
  std::uint64_t next = seed * 100;
  do {
    scene.fresh = draw_case(next++);
  } while (scene.fresh.keys.is_cache());
  scene.fresh.dim = std::max<std::int64_t>(2, scene.fresh.dim);
  scene.fresh.gradients = {};
  scene.cache = draw_cache(scene.fresh, random);
  scene.fresh_setup = make_setup(scene.fresh);
  scene.cache_setup = make_setup(scene.cache);
  scene.rotates = random.chance(0.7);
  scene.has_query = scene.rotates && random.chance(0.6);
  scene.fixed_query = scene.has_query && random.chance(0.5);
  scene.lengths = Field::dense(random.chance(0.5) ? TW_INT32 : TW_INT64, {scene.fresh.batch});
  for (std::int64_t b = 0; b < scene.fresh.batch; ++b) {
    scene.lengths.write({b}, static_cast<double>(scene.cache.keys.length(b)));
  }
  for_each_key(scene.cache, [&](std::int64_t b, std::int64_t j, std::int64_t h) {
    for (std::int64_t d = 0; d < scene.cache.dim; ++d) {
      scene.keys().write(row_index(scene.cache.keys, b, j, h, d), random.normal());
    }
    for (std::int64_t d = 0; d < scene.cache.value_dim; ++d) {
      scene.values().write(row_index(scene.cache.keys, b, j, h, d), random.normal());
    }
  });
  return scene;
}

Outcome append(Scene& scene, const Tables& tables) {
  const Request fresh(scene.fresh, scene.fresh_setup), cache(scene.cache, scene.cache_setup);
  const tw_rotation rotation = tables.view();
  tw_append_request request{};
  request.size = sizeof request;
  request.key = scene.fresh_setup.key.view();
  request.value = scene.fresh_setup.value.view();
  request.key_cache = scene.keys().view();
  request.value_cache = scene.values().view();
  request.lengths = scene.lengths.view();
  request.keys = fresh.options.keys;
  request.cache = cache.options.cache;
  request.rotation = scene.rotates ? &rotation : nullptr;
  if (scene.has_query) {
    request.query = scene.fresh_setup.query.view();
    request.rotated_query = scene.fresh_setup.gradients.query.view();
    request.queries = fresh.options.queries;
    request.fixed_query = scene.fixed_query ? 1 : 0;
  }
  char message[1024] = "";
  const tw_status status = tw_append(&request, &fresh.execution, message, sizeof message);
  wait_for_device();
  return {status, message};
}

struct Rows {
  const Field& field;
  const SideCase& side;
  std::int64_t heads, dim;
};

oracle::Tensor read_rows(const Rows& rows, std::int64_t b, std::int64_t first, std::int64_t count) {
  oracle::Tensor result({count, rows.heads, rows.dim});
  for (std::int64_t t = 0; t < count; ++t) {
    for (std::int64_t h = 0; h < rows.heads; ++h) {
      for (std::int64_t d = 0; d < rows.dim; ++d) {
        result.at(t, h, d) = rows.field.read(row_index(rows.side, b, first + t, h, d));
      }
    }
  }
  return result;
}

void compare_rows(Part part, const oracle::Tensor& got, const oracle::Tensor& want,
                  Report& report) {
  for (std::size_t n = 0; n < want.values.size(); ++n) {
    report.add(part, {static_cast<std::int64_t>(n)},
               {got.values[n], want.values[n], 1e-14 * (1 + std::fabs(want.values[n]))});
  }
}

// Positions first, first + 1, ..., or first over and over.
std::vector<std::int64_t> positions_from(std::int64_t first, std::int64_t count, bool fixed) {
  std::vector<std::int64_t> positions;
  for (std::int64_t t = 0; t < count; ++t) positions.push_back(fixed ? first : first + t);
  return positions;
}

void compare_appended(Scene& scene, const Tables& tables, Report& report) {
  const Case &fresh = scene.fresh, &cache = scene.cache;
  const oracle::Rotation rotation = tables.oracle();
  for (std::int64_t b = 0; b < fresh.batch; ++b) {
    const std::int64_t count = fresh.keys.length(b), before = cache.keys.length(b);
    oracle::Tensor keys =
        read_rows({scene.fresh_setup.key, fresh.keys, fresh.key_heads, fresh.dim}, b, 0, count);
    if (scene.rotates) {
      keys = oracle::rotate(keys, rotation, positions_from(before, count, false));
    }
    compare_rows(
        Part::kCachedKey,
        read_rows({scene.keys(), cache.keys, fresh.key_heads, fresh.dim}, b, before, count), keys,
        report);
    compare_rows(
        Part::kCachedValue,
        read_rows({scene.values(), cache.keys, fresh.key_heads, fresh.value_dim}, b, before, count),
        read_rows({scene.fresh_setup.value, fresh.keys, fresh.key_heads, fresh.value_dim}, b, 0,
                  count),
        report);
    if (!scene.has_query) continue;
    const std::int64_t queries = fresh.queries.length(b);
    compare_rows(
        Part::kRotated,
        read_rows({scene.fresh_setup.gradients.query, fresh.queries, fresh.heads, fresh.dim}, b, 0,
                  queries),
        oracle::rotate(read_rows({scene.fresh_setup.query, fresh.queries, fresh.heads, fresh.dim},
                                 b, 0, queries),
                       rotation, positions_from(before, queries, scene.fixed_query)),
        report);
  }
}

// Marks the appended rows as the only ones that may change.
void own_appended(Scene& scene) {
  for (Field* each : {&scene.keys(), &scene.values()}) {
    each->disown();
    each->remember();
    for (std::int64_t b = 0; b < scene.fresh.batch; ++b) {
      for (std::int64_t t = 0; t < scene.fresh.keys.length(b); ++t) {
        for (std::int64_t h = 0; h < scene.fresh.key_heads; ++h) {
          for (std::int64_t d = 0; d < each->size(each->view().rank - 1); ++d) {
            each->own(row_index(scene.cache.keys, b, scene.cache.keys.length(b) + t, h, d));
          }
        }
      }
    }
  }
}

TEST(Append, MatchesTheOracleInRandomCaches) {
  std::int64_t compared = 0;
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    Scene scene = draw_scene(seed);
    oracle::Random random(seed + 9000);
    const Tables tables(scene.fresh.dim, kMostRows, random);
    own_appended(scene);
    own_outputs(scene.fresh, scene.fresh_setup);
    const Outcome outcome = append(scene, tables);
    ASSERT_EQ(outcome.status, TW_OK)
        << scene.fresh.describe() << "\n  " << scene.cache.describe() << "\n  " << outcome.message;
    Report report;
    compare_appended(scene, tables, report);
    check_untouched({{"key cache", &scene.keys()}, {"value cache", &scene.values()}},
                    scene.cache_setup, report);
    check_untouched({{"rotated query", &scene.fresh_setup.gradients.query}}, scene.fresh_setup,
                    report);
    EXPECT_TRUE(report.ok()) << "scene " << seed << ' ' << scene.fresh.describe() << "\n  "
                             << scene.cache.describe() << report.sentences();
    compared += report.compared();
  }
  EXPECT_GT(compared, 10000);
}

}  // namespace
}  // namespace tilewise::conformance
