// What holds for every tensor of a forward or backward call: if it is wrong, it is refused by its
// name.
#include <gtest/gtest.h>

#include <algorithm>

#include "loaded_calls.h"

namespace tilewise {
namespace {

// For each tensor of forward and of backward, in each setting: makes a new call, calls
// `spoil(tensor)` on that tensor alone, and `judge` with its name and the sentence.
template <class Spoil, class Judge>
void spoil_each(Spoil spoil, Judge judge) {
  for (const tw_operation operation : {TW_FORWARD, TW_BACKWARD}) {
    for (const Setting setting : kSettings) {
      std::size_t count = 1;
      for (std::size_t k = 0; k < count; ++k) {
        Attention call(operation);
        fill(call, setting);
        const Tensors all = tensors_of(call);
        count = all.size();
        spoil(*all[k].tensor);
        judge(all[k].name, std::string(call.check().sentence));
      }
    }
  }
}

void expect_named(const std::string& name, const std::string& sentence) {
  EXPECT_EQ(sentence.rfind(name + " ", 0), 0u) << "  said: " << sentence << "\nwanted: " << name;
}

TEST(EveryTensor, IsFineAsItIs) {
  spoil_each([](tw_tensor&) {},
             [](const std::string&, const std::string& said) { EXPECT_EQ(said, ""); });
}

TEST(EveryTensor, IsRefusedByItsName) {
  spoil_each([](tw_tensor& t) { t.reserved[0] = 1; }, expect_named);
  spoil_each([](tw_tensor& t) { t.rank = 9; }, expect_named);
  spoil_each([](tw_tensor& t) { t.dtype = t.dtype == TW_INT64 ? TW_FLOAT64 : TW_INT64; },
             [](const std::string& name, const std::string& said) {
               const bool takes = name.ends_with("offsets") || name.ends_with("start");
               if (!takes) expect_named(name, said);
             });
  spoil_each([](tw_tensor& t) { t.dtype = TW_BFLOAT16 + 100; }, expect_named);
  spoil_each([](tw_tensor& t) { t.shape[0] = -1; }, expect_named);
  spoil_each([](tw_tensor& t) { t.byte_size -= 1; }, expect_named);
  spoil_each([](tw_tensor& t) { t.byte_offset = -8; }, expect_named);
  spoil_each([](tw_tensor& t) { t.data = nullptr; }, expect_named);
  spoil_each(
      [](tw_tensor& t) {
        t.byte_size = 0;
        t.byte_offset = 1;
      },
      [](const std::string& name, const std::string& said) {
        const bool bytes = name == "mask.visible" || name == "mask.blocks";
        if (!bytes) expect_named(name, said);
      });
}

// One more in any dimension is refused, except for boolean masks, biases and page tables, which may
// be larger than needed.
TEST(EveryTensor, HasOneShape) {
  for (int k = 0; k < 4; ++k) {
    spoil_each(
        [k](tw_tensor& t) {
          if (k < t.rank) ++t.shape[k];
          t.stride[std::max(t.rank - 1, 0)] = 1;
          t.byte_size = t.shape[k] == 2 || k >= t.rank ? -1 : 0;
        },
        [](const std::string& name, const std::string& said) {
          const bool table = name == "mask.visible" || name == "scores.bias";
          if (table || name == "cache.page_table") return;
          EXPECT_NE(said, "") << name;
        });
  }
}

TEST(EveryTensor, IsHeldAgainstEveryOutput) {
  int pairs = 0;
  for (const tw_operation operation : {TW_FORWARD, TW_BACKWARD}) {
    for (const Setting setting : kSettings) {
      Attention count(operation);
      fill(count, setting);
      const std::size_t outputs = outputs_of(count).size(), all = tensors_of(count).size();
      for (std::size_t i = 0; i < outputs * all; ++i) {
        Attention call(operation);
        fill(call, setting);
        const Named output = outputs_of(call)[i / all], other = tensors_of(call)[i % all];
        if (output.name == other.name) continue;
        output.tensor->data = other.tensor->data;
        output.tensor->byte_size = 0;
        const std::string said = call.check().sentence;
        EXPECT_NE(said.find("share memory"), std::string::npos) << output.name << other.name;
        EXPECT_NE(said.find(output.name), std::string::npos) << said;
        ++pairs;
      }
    }
  }
  EXPECT_GT(pairs, 600);
}

}  // namespace
}  // namespace tilewise
