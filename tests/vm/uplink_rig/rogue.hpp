// SPDX-License-Identifier: GPL-2.0-or-later
// The parts of the rogue (rogue.cpp says what that is). Whatever does not work ends the program.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <thread>

#define XC_WANT_COMPAT_MAP_FOREIGN_API
extern "C" {
#include <xenctrl.h>  // first: the others' headers of Xen are not the tools' ones otherwise
#include <xenevtchn.h>
#include <xengnttab.h>
#include <xenstore.h>
}

namespace rogue {

using Clock = std::chrono::steady_clock;

inline std::uint32_t domain = 0;  // the guest
inline xs_handle* store = nullptr;

// rogue.cpp
[[noreturn]] void end_with(const std::string& what);
void write(const std::string& path, const std::string& value);
std::string read(const std::string& path);
unsigned read_number(const std::string& path);
void make(const std::string& path, unsigned owner, unsigned reader);
std::string guest();  // its folder

template <typename There>
bool wait_for(There there, int seconds) {
    for (const auto until = Clock::now() + std::chrono::seconds(seconds); Clock::now() < until; std::this_thread::sleep_for(std::chrono::milliseconds(10)))
        if (there()) return true;
    return false;
}

// A device's two folders, and the provider's ends of what the guest then grants there and of its event channel.
class Device {
public:
    // `kind` and `number` as in device/vbd/51744. Both folders are there, with what every device has, and the backend waits.
    Device(const std::string& kind, const std::string& number);
    void offer() const;                      // the frontend's state: it may begin
    void wait_state(unsigned state) const;   // the guest's
    void bind();                             // to the guest's event channel
    void* map(const std::string& name);      // the page whose grant the guest wrote there
    void notify() const;
    void switch_to(unsigned state) const { write(back + "/state", std::to_string(state)); }
    [[nodiscard]] bool gone() const { return read(front + "/state").empty(); }
    void take_away();                        // the guest is told first

    std::string front, back;

private:
    xengnttab_handle* grants_ = nullptr;
    xenevtchn_handle* events_ = nullptr;
    evtchn_port_t local_ = 0;
    void* pages_[2] = {};
    int count_ = 0;
};

int card(const std::string& way);  // rogue_card.cpp

}  // namespace rogue
