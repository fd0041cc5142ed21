// Limits of control groups, from files like those that the kernel shows.
#include "parallel/control_group.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace tilewise {
namespace {

class ControlGroups : public testing::Test {
 protected:
  void SetUp() override {
    root_ = std::filesystem::path(testing::TempDir()) /
            testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(root_);
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  void write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }

  [[nodiscard]] int allowed() const { return allowed_by_control_groups(root_.c_str()); }

 private:
  std::filesystem::path root_;
};

TEST_F(ControlGroups, NoneLimitsNothing) {
  EXPECT_EQ(allowed(), kUnlimitedProcessors);
  write("proc/self/cgroup", "0::/\n");
  EXPECT_EQ(allowed(), kUnlimitedProcessors);
  write("sys/fs/cgroup/cpu.max", "max 100000\n");
  EXPECT_EQ(allowed(), kUnlimitedProcessors);
}

TEST_F(ControlGroups, Version2CountsBegunProcessors) {
  write("proc/self/cgroup", "0::/\n");
  write("sys/fs/cgroup/cpu.max", "250000 100000\n");
  EXPECT_EQ(allowed(), 3);
  write("sys/fs/cgroup/cpu.max", "1000 100000\n");
  EXPECT_EQ(allowed(), 1);
}

TEST_F(ControlGroups, GroupsAroundThisOneCount) {
  write("proc/self/cgroup", "0::/system.slice/app.service\n");
  write("sys/fs/cgroup/system.slice/app.service/cpu.max", "800000 100000\n");
  EXPECT_EQ(allowed(), 8);
  write("sys/fs/cgroup/system.slice/cpu.max", "400000 100000\n");
  EXPECT_EQ(allowed(), 4);
  write("sys/fs/cgroup/cpu.max", "200000 100000\n");
  EXPECT_EQ(allowed(), 2);
}

TEST_F(ControlGroups, Version1HasItsOwnFiles) {
  write("proc/self/cgroup", "12:cpuset:/box\n4:cpu,cpuacct:/box\n1:name=systemd:/box\n");
  EXPECT_EQ(allowed(), kUnlimitedProcessors);
  write("sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", "-1\n");
  write("sys/fs/cgroup/cpu/box/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(allowed(), kUnlimitedProcessors);
  write("sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", "150000\n");
  EXPECT_EQ(allowed(), 2);
}

// In a container the mounted root is its own group, but /proc/self/cgroup has the path outside.
TEST_F(ControlGroups, PathsThatAreNotThereEndAtTheRoot) {
  write("proc/self/cgroup", "4:cpuacct,cpu:/docker/0123456789\n");
  write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "300000\n");
  write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(allowed(), 3);
}

TEST_F(ControlGroups, OtherControllersRuleNothing) {
  write("proc/self/cgroup", "3:cpuset,memory:/box\nnonsense\n");
  write("sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", "100000\n");
  write("sys/fs/cgroup/cpu/box/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(allowed(), kUnlimitedProcessors);
}

}  // namespace
}  // namespace tilewise
