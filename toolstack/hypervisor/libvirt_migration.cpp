// SPDX-License-Identifier: GPL-2.0-or-later
// Both ends of a move: live save by blanket-save, restore by libvirt from a FIFO; see libvirt_hypervisor.hpp and save_protocol.hpp.
#include <algorithm>
#include <atomic>
#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <thread>

#include "toolstack/base/log.hpp"
#include "toolstack/base/process.hpp"
#include "toolstack/hypervisor/libvirt_hypervisor.hpp"
#include "toolstack/hypervisor/save_protocol.hpp"
#include "toolstack/hypervisor/stream_feeder.hpp"

namespace blanket {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// Reads blanket-save's lines until it closes its output. Gives the child SIGTERM once when the caller wants the end of it.
struct SaveWatch {
    const Child& child;
    const int go;  // a byte here lets blanket-save ask the guest to stop
    const std::function<bool(const SaveProgress&)>& on_progress;
    std::atomic<bool>& suspended;  // for the pump
    SaveProgress progress;
    bool done = false, cancelled = false;
    std::string error, hint;

    void tell() {
        if (!on_progress || on_progress(progress) || cancelled) return;  // who has given up is told on: the guest may be stopping all the same
        cancelled = true;
        ::kill(child.pid(), SIGTERM);  // blanket-save alone: it stops its helper itself, in order
    }
    void take(std::string_view text) {
        const auto line = parse_line(text);
        if (!line) return;
        if (line->what == SaveLine::What::kError) {
            error = line->error;
            hint = line->hint;
            return;
        }
        progress.round = line->round;
        progress.bytes = line->bytes;
        if (line->what == SaveLine::What::kRound) progress.ended.push_back(line->ended);
        if (line->what == SaveLine::What::kProgress) {
            progress.sending = line->sending;
            progress.forecast_ms = line->forecast_ms;
        }
        if (line->what == SaveLine::What::kStopping) {
            progress.stopping = true;
            progress.why = line->why;
            progress.forecast_ms = line->forecast_ms;
        }
        if (line->what == SaveLine::What::kSuspended) {
            progress.suspended = suspended = true;
            progress.asked_ms = line->asked_ms;
            progress.suspended_ms = line->suspended_ms;
        }
        if (line->what == SaveLine::What::kDone) done = true;
        else tell();
        if (line->what == SaveLine::What::kStopping) (void)write_all(go, as_bytes("\n"));  // it has gone: its end comes as the end of its lines
    }
    void read_all(int fd) {
        std::string text;
        std::vector<std::byte> buffer(16 * 1024);
        for (;;) {
            pollfd wait{fd, POLLIN, 0};
            if (::poll(&wait, 1, 200) == 0) {
                tell();  // nothing new, but the caller may want to give up
                continue;
            }
            const auto got = read_some(fd, buffer);
            if (!got || *got == 0) return;
            text.append(reinterpret_cast<const char*>(buffer.data()), *got);
            for (std::size_t end; (end = text.find('\n')) != std::string::npos; text.erase(0, end + 1)) take(std::string_view(text).substr(0, end));
            if (text.size() > 64 * 1024) text.clear();
        }
    }
};

constexpr std::size_t kPiece = 256 * 1024;  // large enough to compress, small enough to keep the pipe moving
constexpr int kPipeSize = 1 << 20;

// From the save's pipe into the sink, on a thread of its own, so that the save does not wait for the encoder.
Result<void> pump(int fd, const ByteSink& sink, const std::atomic<bool>& suspended) {
    std::vector<std::byte> buffer(kPiece);
    for (;;) {
        std::size_t filled = 0;
        bool end = false;
        while (!end && filled < buffer.size()) {
            BLANKET_TRY(const std::size_t got, read_some(fd, std::span(buffer).subspan(filled)));
            end = got == 0;
            filled += got;
            if (suspended) break;  // the last pages must not wait for a full piece
        }
        if (filled > 0) BLANKET_CHECK(sink(std::span<const std::byte>(buffer.data(), filled)));
        if (end) return {};
    }
}

// blanket-save's one-shot verbs: its error text comes as a JSON line.
Result<void> run_verb(const std::string& program, const std::string& verb, int domid) {
    BLANKET_TRY(const Output output, run_any({program, verb, std::to_string(domid)}, {.deadline = 120s, .input = {}, .env = {}}));
    if (output.status == 0) return {};
    const auto line = parse_line(std::string_view(output.out).substr(0, output.out.find('\n')));
    return fail(Kind::kIo, "{} of domain {} failed: {}", verb.substr(2), domid, line ? line->error : output.err);
}

}  // namespace

Result<int> LibvirtHypervisor::running_id(const std::string& uuid) {
    BLANKET_TRY(const ConnectHandle connection, connection_.get());
    BLANKET_TRY(const DomainHandle domain, find_domain(connection.get(), uuid));
    const unsigned id = virDomainGetID(domain.get());
    if (id == static_cast<unsigned>(-1)) return fail(Kind::kConflict, "'{}' does not run here", name_of(domain.get()));
    return static_cast<int>(id);
}

Result<void> LibvirtHypervisor::save_live(const std::string& uuid, const SaveLimits& limits, const ByteSink& sink, const std::function<bool(const SaveProgress&)>& on_progress) {
    BLANKET_TRY(const int domid, running_id(uuid));
    BLANKET_TRY(Pipe lines, make_pipe());
    BLANKET_TRY(Pipe stream, make_pipe());
    BLANKET_TRY(Pipe go, make_pipe());
    (void)::fcntl(stream.write.get(), F_SETPIPE_SZ, kPipeSize);  // smaller is slower, not wrong
    const int out = stream.write.get();
    BLANKET_TRY(Child child, Child::spawn({paths_.save, std::to_string(domid), std::to_string(out), format_limits(limits)},
                                          {.in = go.read.get(), .out = lines.write.get(), .err = -1, .pass = {out}}));
    go.read.reset();
    lines.write.reset();
    stream.write.reset();
    std::atomic<bool> suspended = false;
    Result<void> pumped;
    std::jthread pumping([&] {
        pumped = pump(stream.read.get(), sink, suspended);
        stream.read.reset();  // after an error of the sink this breaks the save's pipe, and the guest runs on
    });
    SaveWatch watch{.child = child, .go = go.write.get(), .on_progress = on_progress, .suspended = suspended, .progress = {}, .done = false, .cancelled = false, .error = {}, .hint = {}};
    watch.read_all(lines.read.get());
    const auto status = child.wait(90s);  // its output is closed: it is at its end
    if (!status) child.kill(SIGKILL);
    pumping.join();
    const bool saved = status && *status == 0 && watch.done;
    if (saved && pumped) return {};
    if (saved || !status || *status > 1) {  // nobody took the end of it, it crashed, or it could not wake the guest: once more, in a fresh process
        if (const auto resumed = run_verb(paths_.save, "--resume", domid); !resumed)
            log::error("hypervisor", "after the failed save of domain {}: {}", domid, resumed.error().what);
    }
    if (watch.cancelled) return fail(Kind::kCancelled, "the save of domain {} was given up", domid);
    if (!pumped) return pumped;
    if (!watch.hint.empty()) return fail_hint(Kind::kPrecondition, watch.error, watch.hint);
    if (watch.error.empty()) watch.error = status ? std::format("blanket-save ended with status {}", *status) : status.error().what;
    return fail(Kind::kIo, "live save of domain {}: {}", domid, watch.error);
}

Result<void> LibvirtHypervisor::lift_caps() {
    BLANKET_TRY(const auto domains, xen_domains());
    for (const XenDomain& domain : domains)
        if (!domain.dying) BLANKET_CHECK(run_verb(paths_.save, "--uncap", domain.id));
    return {};
}

Result<void> LibvirtHypervisor::resume_source(const std::string& uuid) {
    BLANKET_TRY(const int domid, running_id(uuid));
    return run_verb(paths_.save, "--resume", domid);
}

Result<void> LibvirtHypervisor::destroy_and_undefine(const std::string& uuid) {
    {
        BLANKET_TRY(const ConnectHandle connection, connection_.get());
        const auto domain = find_domain(connection.get(), uuid);
        if (!domain && domain.error().kind != Kind::kNotFound) return std::unexpected(domain.error());
        if (domain && virDomainIsActive(domain->get()) == 1 && virDomainDestroy(domain->get()) != 0) {
            Error error = libvirt_error("destroy", domain->get());
            if (virDomainIsActive(domain->get()) == 1) return std::unexpected(std::move(error));
        }
    }
    BLANKET_CHECK(undefine(uuid));
    // What libvirt lost (it was restarted in the middle of a restore) is still in Xen.
    BLANKET_TRY(const auto domains, xen_domains());
    for (const XenDomain& domain : domains)
        if (domain.uuid == uuid && !domain.dying) {
            log::warning("hypervisor", "domain {} ({}) is unknown to libvirt: removing it", domain.id, uuid);
            BLANKET_CHECK(run_verb(paths_.save, "--destroy", domain.id));
        }
    return {};
}

Result<void> LibvirtHypervisor::destroy_source(const std::string& uuid) { return destroy_and_undefine(uuid); }

Result<void> LibvirtHypervisor::discard_target(const std::string& uuid) { return destroy_and_undefine(uuid); }

Result<void> LibvirtHypervisor::restore_paused(const std::string& uuid, const std::string& xml, const ByteSource& source) {
    BLANKET_TRY(const ConnectHandle connection, connection_.get());
    BLANKET_TRY(const auto domains, xen_domains());
    if (std::ranges::find(domains, uuid, &XenDomain::uuid) != domains.end())
        return fail(Kind::kConflict, "{} runs or is being restored on this host already", uuid);
    BLANKET_TRY(auto head, encode_save_header(xml));
    // Defined before the stream, not after: a persistent definition costs time that would fall into the guest's pause.
    {
        const DomainHandle defined(virDomainDefineXMLFlags(connection.get(), xml.c_str(), VIR_DOMAIN_DEFINE_VALIDATE));
        if (!defined) return std::unexpected(libvirt_error("define the domain"));
        if (const std::string other = uuid_of(defined.get()); other != uuid) {
            virDomainUndefine(defined.get());
            return fail(Kind::kInvalid, "the definition is of {}, not of {}", other, uuid);
        }
    }
    const auto give_up = [&](Error error) -> Result<void> {
        if (const auto gone = destroy_and_undefine(uuid); !gone) error.what += std::format("; and the clean-up failed: {}", gone.error().what);
        return std::unexpected(std::move(error));
    };
    auto feeder = StreamFeeder::start(paths_.run, std::move(head), source);
    if (!feeder) return give_up(feeder.error());
    const int rc = virDomainRestoreFlags(connection.get(), feeder->path().c_str(), nullptr, VIR_DOMAIN_SAVE_PAUSED);
    if (rc != 0) {
        Error error = libvirt_error("restore " + uuid);
        const auto fed = feeder->finish();
        if (!fed && !error.what.contains(fed.error().what)) error.what += std::format(" ({})", fed.error().what);
        else if (fed) error.what += std::format(" (the stream ended after {} bytes)", *fed);
        return give_up(std::move(error));
    }
    const auto after = Clock::now() - feeder->last_byte();
    log::info("hypervisor", "restored {} paused, {} ms after the stream's last byte", uuid, std::chrono::duration_cast<std::chrono::milliseconds>(after).count());
    (void)feeder->finish();  // how the copying ended no longer matters: libxl has checked the stream's END record
    return {};
}

Result<void> LibvirtHypervisor::resume_target(const std::string& uuid) {
    BLANKET_TRY(const ConnectHandle connection, connection_.get());
    BLANKET_TRY(const DomainHandle domain, find_domain(connection.get(), uuid));
    if (virDomainResume(domain.get()) == 0) return {};
    Error error = libvirt_error("resume", domain.get());
    int state = 0;
    if (virDomainGetState(domain.get(), &state, nullptr, 0) == 0 && state == VIR_DOMAIN_RUNNING) return {};  // repeated after a crash of ours
    return std::unexpected(std::move(error));
}

}  // namespace blanket
