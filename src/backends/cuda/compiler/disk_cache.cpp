#include "backends/cuda/compiler/disk_cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <string_view>

namespace tilewise::cuda {
namespace {

constexpr off_t kLargestFile = off_t{64} << 20;
constexpr const char* kSuffix = ".cubin";

// Why the last cubin of this process was not kept, by errno; 0: it was.
std::atomic<int> last_failure{0};

// Makes what is missing of a path, for this user alone, as the XDG rules say.
void make_folders(const std::string& path) {
  for (std::size_t at = 1; at != std::string::npos;) {
    at = path.find('/', at + 1);
    mkdir(path.substr(0, at).c_str(), 0700);
  }
}

std::string name_of(const Digest& key) {
  return hexadecimal(key) + kSuffix;
}

bool is_number(std::string_view text, std::size_t digits) {
  return text.size() == digits &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// Has a file of the library this name: a key's, or that of one which is being written?
bool is_ours(std::string_view name, bool& is_unfinished) {
  is_unfinished = name.starts_with(kUnfinished);
  if (is_unfinished) return is_number(name.substr(std::strlen(kUnfinished)), 16);
  return name.ends_with(kSuffix) &&
         is_number(name.substr(0, name.size() - std::strlen(kSuffix)), 2 * sizeof(Digest));
}

// A process that is alive may still write it.
bool is_fresh(const struct stat& about) {
  constexpr std::time_t kLongestWrite = 600;  // seconds
  return about.st_mtime > std::time(nullptr) - kLongestWrite;
}

// A file that another user could not have put or changed here. A FIFO would make the opening wait.
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
    why_not_ =
        "There is no folder for it: TILEWISE_CACHE is empty, or there is no home, or that is below "
        "/tmp.";
    return;
  }
  if (!path.starts_with('/')) {
    why_not_ = "TILEWISE_CACHE is " + path + "; it has to be a path that begins with a slash.";
    return;
  }
  const std::string parent = path.substr(0, slash + 1), name = path.substr(slash + 1);
  if (missing == Missing::kMake) make_folders(parent);
  // The parents may be links of the user's own; what is opened in the end is checked.
  const Descriptor above(open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!above.open()) {
    cannot_open(parent, "");
    return;
  }
  if (missing == Missing::kMake) mkdirat(above.number(), name.c_str(), 0700);
  path_ = path;
  open_own(above.number(), path, name);
}

// By what errno says.
void DiskCache::cannot_open(const std::string& path, const char* as_what) {
  is_absent_ = errno == ENOENT;
  why_not_ = path + " cannot be opened" + as_what + ": " + std::strerror(errno) + ".";
}

void DiskCache::open_own(int parent, const std::string& path, const std::string& name) {
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  Descriptor folder(openat(parent, name.c_str(), kFlags));
  struct stat about {};
  if (!folder.open())
    cannot_open(path, " as a folder");
  else if (fstat(folder.number(), &about) != 0)
    why_not_ = path + " cannot be looked at: " + std::strerror(errno) + ".";
  else if (about.st_uid != geteuid())
    why_not_ = path + " belongs to another user.";
  else if ((about.st_mode & 077) != 0)
    why_not_ = path + " is open to other users: chmod 700 closes it to them.";
  else
    folder_ = std::move(folder);
}

std::string DiskCache::why_not_kept() const {
  if (faccessat(folder_.number(), ".", W_OK, AT_EACCESS) != 0)
    return path_ + " may be read and not written: " + std::strerror(errno) + ".";
  // A file system that does not say what it has has room.
  constexpr std::uint64_t kRoom = 1 << 18;  // bytes of a large cubin
  struct statvfs about {};
  if (fstatvfs(folder_.number(), &about) == 0 && about.f_blocks > 0 &&
      std::uint64_t{about.f_bavail} * about.f_frsize < kRoom)
    return path_ + " has no room left: the disk is full.";
  const int failed = last_failure;
  return failed == 0
             ? ""
             : "the last one could not be written to " + path_ + ": " + std::strerror(failed) + ".";
}

bool DiskCache::load(const Digest& key, Cubin& out) const {
  if (!usable()) return false;
  constexpr int kFlags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  const Descriptor file(openat(folder_.number(), name_of(key).c_str(), kFlags));
  off_t bytes = 0;
  std::vector<std::byte> sealed;
  if (!file.open() || !own_file(file.number(), bytes) ||
      !file.read_all(static_cast<std::size_t>(bytes), sealed) || !unseal(sealed, key, out))
    return false;
  out.from = From::kCache;
  return true;
}

bool DiskCache::store(const Digest& key, const Cubin& cubin) const {
  if (!usable()) return false;
  const bool is_kept = write_file(folder_.number(), name_of(key), seal(cubin, key));
  last_failure = is_kept ? 0 : errno;
  return is_kept;
}

int DiskCache::clear(std::string& why_left) const {
  why_left.clear();
  if (!usable()) return 0;
  // The stream takes a descriptor of its own, with a place of its own in the folder.
  DIR* listing = fdopendir(openat(folder_.number(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!listing) return 0;
  int removed = 0, left = 0, why = 0;
  while (const dirent* entry = readdir(listing)) {
    struct stat about {};
    bool is_unfinished = false;
    if (!is_ours(entry->d_name, is_unfinished) ||
        fstatat(folder_.number(), entry->d_name, &about, AT_SYMLINK_NOFOLLOW) != 0)
      continue;
    // A link, a folder or another user's file was not put there by this library.
    if (!S_ISREG(about.st_mode) || about.st_uid != geteuid()) continue;
    if (is_unfinished && is_fresh(about)) continue;
    if (unlinkat(folder_.number(), entry->d_name, 0) == 0) {
      ++removed;
    } else {
      ++left;
      why = errno;
    }
  }
  closedir(listing);
  if (left > 0)
    why_left = std::to_string(left) + " of " + std::to_string(left + removed) + " files stay in " +
               path_ + ": " + std::strerror(why) + ".";
  return removed;
}

}  // namespace tilewise::cuda
