#include "backends/cuda/compiler/disk_cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <string_view>

namespace tilewise::cuda {
namespace {

constexpr off_t kLargestFile = off_t{64} << 20;
constexpr const char* kSuffix = ".cubin";

// The errno of the last attempt to write a cubin to the cache, or 0 if it succeeded: the last
// attempt of this thread, and the last of the process, because another thread may have compiled the
// cubin.
thread_local int own_failure = 0;
std::atomic<int> last_failure{0};

// Makes the missing folders of a path, accessible to this user only, as the XDG rules require.
void make_folders(const std::string& path) {
  for (std::size_t at = 1; at != std::string::npos;) {
    at = path.find('/', at + 1);
    mkdir(path.substr(0, at).c_str(), 0700);
  }
}

// "…64 digits…-12080-104487248.cubin". The name shows the NVRTC's version and size, so that
// load_any can tell from it whether the driver loads the cubin, without having that NVRTC.
std::string name_of(const CacheKey& key) {
  return hexadecimal(key.program) + "-" + std::to_string(key.nvrtc_version) + "-" +
         std::to_string(key.nvrtc_bytes) + kSuffix;
}

bool is_number(std::string_view text, std::size_t digits) {
  return text.size() == digits &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// Reads the compiler from the name of a cached file; false if it is no such name.
bool read_name(const std::string& name, CacheKey& key) {
  constexpr std::size_t kDigits = 2 * sizeof(Digest);
  key = {};
  if (name.size() < kDigits || !is_number(std::string_view(name).substr(0, kDigits), kDigits) ||
      std::sscanf(name.c_str() + kDigits, "-%d-%lld", &key.nvrtc_version, &key.nvrtc_bytes) != 2)
    return false;
  return name == name.substr(0, kDigits) + name_of(key).substr(kDigits);
}

// Whether the library gave a file this name: that of a cubin, or of one that is being written.
bool is_ours(const std::string& name, bool& is_unfinished) {
  is_unfinished = name.starts_with(kUnfinished);
  if (is_unfinished) return is_number(name.substr(std::strlen(kUnfinished)), 16);
  CacheKey key;
  return read_name(name, key);
}

// Whether a live process may still be writing the file. A date in the far future, which a wrong
// clock may have given the file, does not count as fresh.
bool is_fresh(const struct stat& about) {
  constexpr std::time_t kLongestWrite = 600;  // seconds
  return std::abs(std::time(nullptr) - about.st_mtime) < kLongestWrite;
}

// Calls use(name) for each entry of the folder. Opens the folder again, because another listing by
// the same descriptor would share its position. Returns false, with errno, if the folder cannot be
// listed.
template <class Use>
bool for_each_name(int folder, const Use& use) {
  const auto close_listing = [](DIR* listing) { closedir(listing); };
  const std::unique_ptr<DIR, decltype(close_listing)> listing(
      fdopendir(openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)), close_listing);
  if (!listing) return false;
  while (const dirent* entry = readdir(listing.get())) use(std::string(entry->d_name));
  return true;
}

// Whether the folder is in a file system of the kernel (proc, sysfs or cgroup2), which stores no
// files, although its permissions may let root write there.
bool is_of_the_kernel(const std::string& folder) {
  constexpr long kProc = 0x9fa0, kSys = 0x62656572, kGroups = 0x63677270;
  struct statfs about {};
  if (statfs(folder.c_str(), &about) != 0) return false;
  const auto kind = static_cast<long>(about.f_type);
  return kind == kProc || kind == kSys || kind == kGroups;
}

// The longest prefix of `path` that exists.
std::string nearest_folder(std::string path) {
  struct stat about {};
  do {
    path.resize(std::max<std::size_t>(path.rfind('/'), 1));
    while (path.size() > 1 && path.back() == '/') path.pop_back();
  } while (path.size() > 1 && stat(path.c_str(), &about) != 0);
  return path;
}

// Whether it is a regular file of this user that nobody else can write.
bool own_file(int descriptor, off_t& bytes) {
  struct stat about {};
  if (fstat(descriptor, &about) != 0) return false;
  bytes = about.st_size;
  return S_ISREG(about.st_mode) && about.st_uid == geteuid() && (about.st_mode & 022) == 0 &&
         bytes > 0 && bytes <= kLargestFile;
}

}  // namespace

DiskCache::DiskCache(const std::string& folder, Missing missing) {
  std::string path = folder;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  const std::size_t slash = path.rfind('/');
  if (path.empty()) {
    why_not_ = "No folder is named for it.";
    return;
  }
  if (!path.starts_with('/')) {
    why_not_ = "TILEWISE_CACHE is " + path + "; it has to be a path that begins with a slash.";
    return;
  }
  const std::string parent = path.substr(0, slash + 1), name = path.substr(slash + 1);
  if (name.empty() || name == "." || name == "..") {
    why_not_ =
        "TILEWISE_CACHE is " + folder + ", which names no folder: give it a name of its own.";
    return;
  }
  if (missing == Missing::kMake) make_folders(parent);
  // Parents may be symbolic links of the user; the folder that is finally opened is checked.
  const Descriptor above(open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!above.open()) {
    cannot_open(parent, "");
    if (is_absent_) cannot_make(path);
    return;
  }
  if (missing == Missing::kMake) mkdirat(above.number(), name.c_str(), 0700);
  path_ = path;
  open_own(above.number(), path, name);
}

DiskCache::DiskCache(const Surroundings& around, Missing missing)
    : DiskCache(around.cache, missing) {
  if (around.cache.empty() && !around.why_no_cache.empty()) why_not_ = around.why_no_cache;
}

// Says why the folder cannot be made, unless it can be made later, when there is a cubin to keep.
void DiskCache::cannot_make(const std::string& path) {
  const std::string nearest = nearest_folder(path);
  const bool may = faccessat(AT_FDCWD, nearest.c_str(), W_OK | X_OK, AT_EACCESS) == 0;
  if (may && !is_of_the_kernel(nearest)) return;
  is_absent_ = false;
  why_not_ = path + " cannot be made: no folder can be made in " + nearest + "." +
             " Name another one in TILEWISE_CACHE.";
}

// Says, by errno, why `path` cannot be opened.
void DiskCache::cannot_open(const std::string& path, const char* as_what) {
  is_absent_ = errno == ENOENT;
  why_not_ = path + " cannot be opened" + as_what + ": " + std::strerror(errno) + ".";
}

void DiskCache::open_own(int parent, const std::string& path, const std::string& name) {
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  Descriptor folder(openat(parent, name.c_str(), kFlags));
  const int why = errno;
  struct stat about {};
  const bool is_link =
      fstatat(parent, name.c_str(), &about, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(about.st_mode);
  errno = why;
  if (!folder.open() && is_link)
    why_not_ = path + " is a link: name the folder itself in TILEWISE_CACHE.";
  else if (!folder.open())
    cannot_open(path, " as a folder");
  else if (fstat(folder.number(), &about) != 0)
    why_not_ = path + " cannot be looked at: " + std::strerror(errno) + ".";
  else if (about.st_uid != geteuid())
    why_not_ = path + " belongs to another user.";
  else if ((about.st_mode & 077) != 0)
    why_not_ = path + " is open to other users: chmod 700 closes it to them.";
  else
    folder_ = std::move(folder);
  if (is_absent_) cannot_make(path);
}

// A file can be overwritten; anything else of that name cannot.
std::string DiskCache::what_is_in_the_way() const {
  std::string in_the_way;
  for_each_name(folder_.number(), [&](const std::string& name) {
    CacheKey key;
    struct stat about {};
    if (in_the_way.empty() && read_name(name, key) &&
        fstatat(folder_.number(), name.c_str(), &about, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISDIR(about.st_mode))
      in_the_way = path_ + "/" + name;
  });
  return in_the_way;
}

std::string DiskCache::why_not_kept() const {
  if (faccessat(folder_.number(), ".", W_OK, AT_EACCESS) != 0)
    return path_ + " may be read and not written: " + std::strerror(errno) + ".";
  if (const std::string folder = what_is_in_the_way(); !folder.empty())
    return folder + " is a folder, in whose place a kernel cannot be kept: remove it.";
  // A file system that does not tell its free space is assumed to have some.
  constexpr std::uint64_t kRoom = 1 << 18;  // bytes; more than a large cubin
  struct statvfs about {};
  if (fstatvfs(folder_.number(), &about) == 0 && about.f_blocks > 0 &&
      std::uint64_t{about.f_bavail} * about.f_frsize < kRoom)
    return "the disk of " + path_ + " has " +
           std::to_string(std::uint64_t{about.f_bavail} * about.f_frsize / 1024) +
           " KB left, and a kernel may take 256.";
  const int failed = own_failure != 0 ? own_failure : last_failure.load();
  return failed == 0
             ? ""
             : "the last one could not be written to " + path_ + ": " + std::strerror(failed) + ".";
}

bool DiskCache::load(const CacheKey& key, Cubin& out) const {
  if (!usable()) return false;
  // O_NONBLOCK, because opening a FIFO would wait.
  constexpr int kFlags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  const Descriptor file(openat(folder_.number(), name_of(key).c_str(), kFlags));
  off_t bytes = 0;
  std::vector<std::byte> sealed;
  if (!file.open() || !own_file(file.number(), bytes) ||
      !file.read_all(static_cast<std::size_t>(bytes), sealed) || !unseal(sealed, key.digest(), out))
    return false;
  out.from = From::kCache;
  return true;
}

bool DiskCache::load_any(const Digest& program, int driver_version, Cubin& out,
                         CacheKey& key) const {
  if (!usable()) return false;
  const std::string begin = hexadecimal(program);
  std::vector<CacheKey> keys;
  for_each_name(folder_.number(), [&](const std::string& name) {
    CacheKey each;
    if (!name.starts_with(begin) || !read_name(name, each) ||
        each.nvrtc_version / 1000 > driver_version / 1000)
      return;
    each.program = program;
    keys.push_back(each);
  });
  std::sort(keys.begin(), keys.end(),
            [](const CacheKey& a, const CacheKey& b) { return a.nvrtc_version > b.nvrtc_version; });
  const auto found =
      std::find_if(keys.begin(), keys.end(), [&](const CacheKey& each) { return load(each, out); });
  if (found == keys.end()) return false;
  key = *found;
  return true;
}

bool DiskCache::store(const CacheKey& key, const Cubin& cubin) const {
  if (!usable()) return false;
  const bool is_kept = write_file(folder_.number(), name_of(key), seal(cubin, key.digest()));
  own_failure = is_kept ? 0 : errno;
  last_failure = own_failure;
  return is_kept;
}

int DiskCache::clear(std::string& why_left) const {
  why_left.clear();
  if (!usable()) return 0;
  int removed = 0, left = 0;
  std::string why;
  const auto leave = [&](const std::string& because) {
    ++left;
    why = because;
  };
  const bool is_listed = for_each_name(folder_.number(), [&](const std::string& name) {
    struct stat about {};
    bool is_unfinished = false;
    if (!is_ours(name, is_unfinished) ||
        fstatat(folder_.number(), name.c_str(), &about, AT_SYMLINK_NOFOLLOW) != 0)
      return;
    if (S_ISDIR(about.st_mode)) return leave(name + " is a folder");
    // A link or another user's file was not put there by this library.
    if (!S_ISREG(about.st_mode) || about.st_uid != geteuid()) return;
    if (is_unfinished && is_fresh(about)) return;
    if (unlinkat(folder_.number(), name.c_str(), 0) == 0)
      ++removed;
    else if (errno != ENOENT)
      leave(std::strerror(errno));
  });
  if (!is_listed)
    why_left = path_ + " cannot be listed: " + std::strerror(errno) + ".";
  else if (left > 0)
    why_left = std::to_string(left) + " of " + std::to_string(left + removed) + " files stay in " +
               path_ + ": " + why + ".";
  return removed;
}

}  // namespace tilewise::cuda
