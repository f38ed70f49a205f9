#include <cleat/base/misuse.hpp>

#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string_view>

namespace cleat::detail {

void misuse(std::string_view sentence) noexcept {
  // One call, without memory or locks: other threads may hold what they are about to destroy.
  auto const part = [](std::string_view s) { return iovec{const_cast<char*>(s.data()), s.size()}; };
  std::array const whole{part("cleat: "), part(sentence), part("\n")};
  [[maybe_unused]] auto const written = ::writev(STDERR_FILENO, whole.data(), whole.size());
  std::abort();
}

}  // namespace cleat::detail
