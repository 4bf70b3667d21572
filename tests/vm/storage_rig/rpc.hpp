// SPDX-License-Identifier: GPL-2.0-or-later
// The two rig machines' talk: one TCP connection, frames of a JSON head and bytes. Used by the rig's source (client) and target (server).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "toolstack/base/fd.hpp"
#include "toolstack/base/json.hpp"

namespace blanket::rig {

struct Frame {
    Json head;
    std::vector<std::byte> data;
};

Result<UniqueFd> listen_and_accept(std::uint16_t port);
Result<UniqueFd> connect_to(const std::string& ip, std::uint16_t port, int attempts);
Result<void> send_frame(int fd, const Json& head, std::span<const std::byte> data = {});
Result<Frame> receive_frame(int fd);
// Sends and waits for the answer; an answer with "error" becomes the error.
Result<Json> call(int fd, const Json& head, std::span<const std::byte> data = {});

}  // namespace blanket::rig
