// tw_merge over random layouts and parts, against the oracle.
#include "oracle/merge.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "conformance/device.h"
#include "conformance/field.h"
#include "conformance/report.h"

namespace tilewise::conformance {
namespace {

constexpr double kNothing = -std::numeric_limits<double>::infinity();

// Parts of a dense batch, or of packed rows (batch 0).
struct Scene {
  std::int64_t batch, rows, heads, dim;
  tw_dtype dtype, lse_dtype;
  std::vector<Field> outputs, lses;
  Field sinks, output, lse;

  [[nodiscard]] Index output_at(std::int64_t b, std::int64_t i, std::int64_t h,
                                std::int64_t d) const {
    return batch == 0 ? Index{i, h, d, 0} : Index{b, i, h, d};
  }
  [[nodiscard]] Index lse_at(std::int64_t b, std::int64_t h, std::int64_t i) const {
    return batch == 0 ? Index{h, i, 0, 0} : Index{b, h, i, 0};
  }
  [[nodiscard]] Shape output_shape() const {
    return batch == 0 ? Shape{rows, heads, dim} : Shape{batch, rows, heads, dim};
  }
  [[nodiscard]] Shape lse_shape() const {
    return batch == 0 ? Shape{heads, rows} : Shape{batch, heads, rows};
  }
  // Calls visit(b, i, h) for every row of every head.
  template <class Visit>
  void for_each_row(const Visit& visit) const {
    for (std::int64_t b = 0; b < std::max<std::int64_t>(1, batch); ++b) {
      for (std::int64_t i = 0; i < rows; ++i) {
        for (std::int64_t h = 0; h < heads; ++h) visit(b, i, h);
      }
    }
  }
};

Scene draw_scene(std::uint64_t seed) {
  oracle::Random random(seed);
  Scene scene{};
  scene.batch = random.integer(0, 3);
  scene.rows = random.integer(0, 20);
  scene.heads = random.integer(1, 5);
  scene.dim = random.integer(1, 20);
  scene.dtype = random.chance(0.5) ? TW_FLOAT64 : TW_FLOAT32;
  scene.lse_dtype = scene.dtype;
  const std::int64_t parts = random.integer(1, 5);
  for (std::int64_t part = 0; part < parts; ++part) {
    // Elements of an input may share memory, so the oracle reads them back from there.
    Field output = Field::scattered(scene.dtype, scene.output_shape(), {Role::kInput}, random);
    Field lse = Field::scattered(scene.lse_dtype, scene.lse_shape(), {Role::kInput}, random);
    scene.for_each_row([&](std::int64_t b, std::int64_t i, std::int64_t h) {
      const double size = random.chance(0.1) ? 100 : 2;
      lse.write(scene.lse_at(b, h, i), random.chance(0.25) ? kNothing : size * random.normal());
      for (std::int64_t d = 0; d < scene.dim; ++d) {
        output.write(scene.output_at(b, i, h, d), random.normal());
      }
    });
    output.remember();
    lse.remember();
    scene.outputs.push_back(std::move(output));
    scene.lses.push_back(std::move(lse));
  }
  if (random.chance(0.5)) {
    scene.sinks = Field::dense(TW_FLOAT32, {scene.heads});
    for (std::int64_t h = 0; h < scene.heads; ++h) scene.sinks.write({h}, random.normal());
  }
  scene.output = Field::scattered(scene.dtype, scene.output_shape(), {Role::kOutput}, random);
  scene.lse = Field::scattered(scene.lse_dtype, scene.lse_shape(), {Role::kOutput}, random);
  return scene;
}

oracle::Part merged(const Scene& scene, std::int64_t b, std::int64_t i, std::int64_t h) {
  std::vector<oracle::Part> parts;
  for (std::size_t p = 0; p < scene.outputs.size(); ++p) {
    oracle::Part part{oracle::Tensor({1, 1, scene.dim}), oracle::Tensor({1, 1})};
    part.lse.at(0, 0) = scene.lses[p].read(scene.lse_at(b, h, i));
    for (std::int64_t d = 0; d < scene.dim; ++d) {
      part.output.at(0, 0, d) = scene.outputs[p].read(scene.output_at(b, i, h, d));
    }
    parts.push_back(part);
  }
  std::vector<double> sinks;
  if (!scene.sinks.absent()) sinks.push_back(scene.sinks.read({h}));
  return oracle::merge(parts, sinks);
}

tw_status merge(Scene& scene) {
  std::vector<tw_tensor> outputs, lses;
  for (const Field& each : scene.outputs) outputs.push_back(each.view());
  for (const Field& each : scene.lses) lses.push_back(each.view());
  tw_merge_request request{};
  request.size = sizeof request;
  request.outputs = outputs.data();
  request.lses = lses.data();
  request.parts = static_cast<std::int64_t>(outputs.size());
  request.sinks = scene.sinks.view();
  request.output = scene.output.view();
  request.lse = scene.lse.view();
  char message[1024] = "";
  const tw_execution where = where_calls_run();
  const tw_status status = tw_merge(&request, &where, message, sizeof message);
  wait_for_device();
  EXPECT_EQ(status, TW_OK) << message;
  return status;
}

TEST(Merge, MatchesTheOracleInRandomLayouts) {
  std::int64_t compared = 0;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    Scene scene = draw_scene(seed);
    if (merge(scene) != TW_OK) continue;
    const double allowed = scene.dtype == TW_FLOAT64 ? 1e-13 : 1e-6;
    Report report;
    scene.for_each_row([&](std::int64_t b, std::int64_t i, std::int64_t h) {
      const oracle::Part want = merged(scene, b, i, h);
      const double lse = want.lse.at(0, 0);
      report.add(Part::kLse, {b, h, i},
                 {scene.lse.read(scene.lse_at(b, h, i)), lse, allowed * (1 + std::fabs(lse))});
      scene.lse.own(scene.lse_at(b, h, i));
      for (std::int64_t d = 0; d < scene.dim; ++d) {
        report.add(Part::kOutput, {b, i, h, d},
                   {scene.output.read(scene.output_at(b, i, h, d)), want.output.at(0, 0, d),
                    allowed * 10});
        scene.output.own(scene.output_at(b, i, h, d));
      }
    });
    if (!scene.output.unowned_unchanged() || !scene.lse.unowned_unchanged()) {
      report.fail("the merge wrote where nobody owns");
    }
    EXPECT_TRUE(report.ok()) << "scene " << seed << report.sentences();
    compared += report.compared();
  }
  EXPECT_GT(compared, 10000);
}

}  // namespace
}  // namespace tilewise::conformance
