// The text of bench/peers.py, built into the program so that an installed one has it.
#pragma once

namespace tilewise::cli {

extern const char* const kEmbeddedPeers;

}  // namespace tilewise::cli
