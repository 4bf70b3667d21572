// SPDX-License-Identifier: GPL-2.0-or-later
// The rig's target: does what its source asks, one request at a time, with the same classes that blanketd uses.
#include <cstdio>
#include <fcntl.h>
#include <map>
#include <unistd.h>

#include "tests/vm/storage_rig/rpc.hpp"
#include "tests/vm/storage_rig/site.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/log.hpp"

namespace blanket::rig {
namespace {

class Target final {
public:
    explicit Target(std::unique_ptr<storage::ThinStore> store) : store_(std::move(store)) {}

    Result<Json> handle(const Json& request, std::span<const std::byte> data) {
        BLANKET_TRY(const auto op, json_string(request, "op"));
        const auto id = json_string_or(request, "id", "");
        if (op == "create") {
            Volume volume{.id = id, .image = json_string_or(request, "image", ""), .size = json_number_or(request, "size", 0), .target = "xvda"};
            BLANKET_CHECK(store_->create_volume(volume));
            BLANKET_TRY(moves_[id], storage::ThinMove::target(*store_, volume));
            return Json::object();
        }
        if (op == "die") {
            if (auto done = storage::LiveSystem().write_text("/proc/sysrq-trigger", "b"); !done) log::error("rig", "{}", done.error().what);
            return Json::object();
        }
        const auto move = moves_.find(id);
        if (move == moves_.end()) return fail(Kind::kNotFound, "no volume '{}'", id);
        if (op == "write") {  // not answered one by one: "written" answers for all since the last one
            auto done = move->second->write({json_number_or(request, "offset", 0), json_number_or(request, "length", 0), json_bool_or(request, "zero", false)}, data);
            if (written_ && !done) written_ = done;
        } else if (op == "written") {
            BLANKET_CHECK(std::exchange(written_, Result<void>{}));
        } else if (op == "attach") {
            BLANKET_CHECK(move->second->attach_mirror(kTargetIp, kSourceIp, static_cast<std::uint16_t>(json_number_or(request, "port", 0)), false));
        } else if (op == "finish") {
            BLANKET_CHECK(move->second->finish(json_bool_or(request, "keep", false), json_number_or(request, "epoch", 0)));
        } else if (op == "remove") {
            moves_.erase(move);
            BLANKET_CHECK(store_->remove_volume(id));
        } else if (op == "hash") {
            BLANKET_TRY(const auto content, read_device(storage::volume_device(id), json_number_or(request, "size", 0)));
            return Json{{"hash", hash_of(content)}};
        } else {
            return fail(Kind::kInvalid, "unknown request '{}'", op);
        }
        return Json::object();
    }

private:
    std::unique_ptr<storage::ThinStore> store_;
    std::map<std::string, std::unique_ptr<storage::ThinMove>> moves_;
    Result<void> written_;
};

Result<void> serve() {
    BLANKET_CHECK(make_group());
    BLANKET_TRY(auto store, open_store());
    BLANKET_CHECK(import(*store));
    Target target(std::move(store));
    BLANKET_TRY(const UniqueFd peer, listen_and_accept(kRpcPort));
    for (;;) {
        BLANKET_TRY(const auto request, receive_frame(peer.get()));
        if (json_string_or(request.head, "op", "") == "stop") return send_frame(peer.get(), Json::object());
        const auto answer = target.handle(request.head, request.data);
        if (json_string_or(request.head, "op", "") == "write" && answer) continue;
        BLANKET_CHECK(send_frame(peer.get(), answer ? *answer : to_json(answer.error())));
    }
}

}  // namespace

int run_target() {
    const auto done = serve();
    if (done) return 0;
    std::puts(Json{{"scenario", "target"}, {"ok", false}, {"why", done.error().what}}.dump().c_str());
    return 1;
}

}  // namespace blanket::rig
