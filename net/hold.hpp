// SPDX-License-Identifier: GPL-2.0-or-later
// Where frames for a VM in flight wait at its target until the VM's network driver is back: a TAP port of br-int whose kernel queue is the buffer.
//
//   kLocal, priority 150 --> holdN (queue of kHoldFrames) --> deliver(): read, write back --> kClassify in_port=holdN --> the VM's vif
//
// Without it, what a client sends during the downtime is lost, and the client learns of the VM's return only at its next retransmission, seconds later.
// overlay_hold.cpp drives it; the tests have a fake. One thread at a time per device. Source: linux/if_tun.h, Documentation/networking/tuntap.rst.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "toolstack/base/result.hpp"

namespace blanket::net {

// Frames that wait per network card at most; later ones are dropped. At the guests' MTU these are 1.4 MB.
inline constexpr unsigned kHoldFrames = 1024;
inline constexpr const char* kHoldPrefix = "hold";

class HoldDevice {
public:
    virtual ~HoldDevice() = default;  // the device and what waits in it are gone
    // Sends all that waits back into the bridge; returns the number of frames. Does not block.
    virtual Result<unsigned> deliver() = 0;
};

class HoldHost {
public:
    virtual ~HoldHost() = default;
    // Makes the device `name` and sets it up. kConflict when a device of that name exists.
    virtual Result<std::unique_ptr<HoldDevice>> open(const std::string& name) = 0;
    // Whether the other end of a vif listens. False for a device that is not there.
    virtual bool carrier(const std::string& vif) = 0;
    // Frames that the guest has sent through a vif. 0 for a device that is not there.
    virtual std::uint64_t sent(const std::string& vif) = 0;
};

class SystemHoldHost final : public HoldHost {
public:
    Result<std::unique_ptr<HoldDevice>> open(const std::string& name) override;
    bool carrier(const std::string& vif) override;
    std::uint64_t sent(const std::string& vif) override;
};

}  // namespace blanket::net
