// Put before the C library (LD_PRELOAD): notes what a program asks of files below one directory,
// and refuses one request. Built and used by tests/io_faults.py.
//
// IO_FAULTS_DIRECTORY   where requests count
// IO_FAULTS_LOG         file that a line "OPERATION PATH" is added to for each
// IO_FAULTS_AT          number of the request to refuse, from 0
// IO_FAULTS_HOW         errno that it gets; "short" writes half of what is asked for
// IO_FAULTS_RANK        the rank that is meant, if a launcher has started several

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

enum class Answer { do_it, refuse, halve };

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

template <class Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

std::string path_of(int descriptor) {
  char path[PATH_MAX];
  const std::string link = "/proc/self/fd/" + std::to_string(descriptor);
  const ssize_t length = readlink(link.c_str(), path, sizeof path);
  return length < 0 ? "" : std::string(path, static_cast<size_t>(length));
}

// Counts and notes a request, and says what becomes of it; errno is set if it is refused.
Answer ask(const char* operation, const std::string& path) {
  static std::atomic<long> n_asked{0};
  static const std::string directory = variable("IO_FAULTS_DIRECTORY");
  static const std::string log = variable("IO_FAULTS_LOG");
  static const std::string at = variable("IO_FAULTS_AT");
  static const std::string how = variable("IO_FAULTS_HOW");
  if (directory.empty() || path.compare(0, directory.size(), directory) != 0 ||
      variable("IO_FAULTS_RANK") != variable("PMI_RANK")) {
    return Answer::do_it;
  }
  const long number = n_asked++;
  const std::string line = std::string(operation) + " " + path + "\n";
  const int file = real<int(const char*, int, ...)>("open")(
      log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (file >= 0) {
    (void)!real<ssize_t(int, const void*, size_t)>("write")(file, line.data(), line.size());
    close(file);
  }
  if (at.empty() || number != std::stol(at)) {
    return Answer::do_it;
  }
  if (how == "short") {
    return Answer::halve;
  }
  errno = std::stoi(how);
  return Answer::refuse;
}

std::string absolute(const char* path) {
  char here[PATH_MAX];
  return path[0] == '/' || getcwd(here, sizeof here) == nullptr ? path
                                                                : std::string(here) + "/" + path;
}

int open_or_refuse(const char* name, const char* path, int flags, mode_t mode) {
  return ask("open", absolute(path)) == Answer::refuse
             ? -1
             : real<int(const char*, int, ...)>(name)(path, flags, mode);
}

mode_t mode_of(int flags, va_list arguments) {
  return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return open_or_refuse("open", path, flags, mode);
}

int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return open_or_refuse("open64", path, flags, mode);
}

ssize_t write(int descriptor, const void* data, size_t size) {
  switch (ask("write", path_of(descriptor))) {
    case Answer::refuse:
      return -1;
    case Answer::halve:
      size = (size + 1) / 2;
      break;
    case Answer::do_it:
      break;
  }
  return real<ssize_t(int, const void*, size_t)>("write")(descriptor, data, size);
}

int fsync(int descriptor) {
  return ask("fsync", path_of(descriptor)) == Answer::refuse ? -1
                                                             : real<int(int)>("fsync")(descriptor);
}

int rename(const char* from, const char* to) noexcept {
  return ask("rename", absolute(to)) == Answer::refuse
             ? -1
             : real<int(const char*, const char*)>("rename")(from, to);
}

int mkdir(const char* path, mode_t mode) noexcept {
  return ask("mkdir", absolute(path)) == Answer::refuse
             ? -1
             : real<int(const char*, mode_t)>("mkdir")(path, mode);
}

}  // extern "C"
