#include "parallel/control_group.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace tilewise {
namespace {

constexpr std::size_t kMostBytes = 4096;

// Reads what fits into `text` of the file `folder`/`name`; an empty text if there is no such file.
void read_file(const char* folder, const char* name, char (&text)[kMostBytes]) {
  char path[2 * kMostBytes];
  std::snprintf(path, sizeof path, "%s/%s", folder, name);
  text[0] = '\0';
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  const ssize_t bytes = read(file, text, sizeof text - 1);
  close(file);
  text[std::max<ssize_t>(bytes, 0)] = '\0';
}

// The number of processors that a group may use, rounded up, if it may take `quota` microseconds of
// processor time in each `period`. A quota of 0 (as "max" is read) or below is no limit.
int processors(long long quota, long long period) {
  if (quota <= 0 || period <= 0) return kUnlimitedProcessors;
  return static_cast<int>(
      std::clamp((quota + period - 1) / period, 1LL, 1LL * kUnlimitedProcessors));
}

int limit_of_version_2(const char* group) {
  char text[kMostBytes];
  read_file(group, "cpu.max", text);
  char* rest = text;
  const long long quota = std::strtoll(text, &rest, 10);
  return processors(quota, std::strtoll(rest, nullptr, 10));
}

int limit_of_version_1(const char* group) {
  char quota[kMostBytes], period[kMostBytes];
  read_file(group, "cpu.cfs_quota_us", quota);
  read_file(group, "cpu.cfs_period_us", period);
  return processors(std::strtoll(quota, nullptr, 10), std::strtoll(period, nullptr, 10));
}

// The least limit of the group `path` and of the groups around it. The root, `mount`, counts too:
// in a container it may be the process's own group while `path` is that group's path outside.
int least_limit(const char* mount, const char* path, int (*limit)(const char*)) {
  char group[2 * kMostBytes];
  std::snprintf(group, sizeof group, "%s%s", mount, path);
  const std::size_t root = std::strlen(mount);
  int least = limit(group);
  while (std::strlen(group) > root) {
    *std::strrchr(group, '/') = '\0';
    least = std::min(least, limit(group));
  }
  return least;
}

// Whether the list of controllers up to `end`, separated by commas, names "cpu".
bool rules_processors(const char* list, const char* end) {
  while (list < end) {
    const char* comma = std::find(list, end, ',');
    if (comma - list == 3 && std::strncmp(list, "cpu", 3) == 0) return true;
    list = comma + (comma < end ? 1 : 0);
    if (comma == end) break;
  }
  return false;
}

}  // namespace

int allowed_by_control_groups(const char* root) {
  char folder[kMostBytes], text[kMostBytes], mount[kMostBytes];
  std::snprintf(folder, sizeof folder, "%s/proc/self", root);
  read_file(folder, "cgroup", text);
  int least = kUnlimitedProcessors;
  // Each line is number:controllers:path. Version 2 has no controllers there.
  for (char* line = text; line != nullptr && *line != '\0';) {
    char* end = std::strchr(line, '\n');
    if (end) *end = '\0';
    const char* controllers = std::strchr(line, ':');
    const char* path = controllers ? std::strchr(controllers + 1, ':') : nullptr;
    if (path) {
      const bool is_version_2 = path == controllers + 1;
      std::snprintf(mount, sizeof mount, "%s/sys/fs/cgroup%s", root, is_version_2 ? "" : "/cpu");
      if (is_version_2)
        least = std::min(least, least_limit(mount, path + 1, limit_of_version_2));
      else if (rules_processors(controllers + 1, path))
        least = std::min(least, least_limit(mount, path + 1, limit_of_version_1));
    }
    line = end ? end + 1 : nullptr;
  }
  return least;
}

}  // namespace tilewise
