// The C face from C++: the library is of the version whose header was read, and a refusal speaks.
#include <tilewise/tilewise.h>

#include <array>
#include <iostream>
#include <string>

int main() {
  const std::string header = std::to_string(TW_VERSION_MAJOR) + "." +
                             std::to_string(TW_VERSION_MINOR) + "." +
                             std::to_string(TW_VERSION_PATCH);
  if (header != tw_version()) {
    std::cerr << "header " << header << ", library " << tw_version() << "\n";
    return 1;
  }
  tw_request request{};
  request.size = sizeof request;
  std::array<char, 256> message{};
  const tw_status status = tw_forward(&request, nullptr, message.data(), message.size());
  if (status != TW_INVALID || message[0] == '\0') {
    std::cerr << "a request without tensors gave status " << status << "\n";
    return 1;
  }
  std::cout << "refused: " << message.data() << "\n";
  return 0;
}
