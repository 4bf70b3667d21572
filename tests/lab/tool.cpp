// SPDX-License-Identifier: GPL-2.0-or-later
// See tool.hpp.
#include "tests/lab/tool.hpp"

#include <cstdio>
#include <print>

#include "toolstack/base/text.hpp"

namespace blanket::lab {

Result<ToolOptions> parse_tool(const std::vector<std::string>& args, const char* lab_name, const std::map<std::string, OptionTaker>& own) {
    ToolOptions options;
    options.lab.name = lab_name;
    std::map<std::string, OptionTaker> all{{"--image", take_text(options.lab.image)}, {"--domu", take_text(options.domu)}, {"--report", take_text(options.report)},
                                           {"--witness", take_text(options.lab.witness_program)}};
    all.insert(own.begin(), own.end());
    for (std::size_t i = 0; i < args.size(); i += 2) {
        const auto taker = all.find(args[i]);
        if (taker == all.end()) return fail(Kind::kInvalid, "unknown option '{}'", args[i]);
        if (i + 1 == args.size()) return fail(Kind::kInvalid, "option '{}' wants a value", args[i]);
        BLANKET_CHECK(taker->second(args[i + 1]));
    }
    return options;
}

OptionTaker take_text(std::string& into) {
    return [&into](const std::string& value) -> Result<void> {
        into = value;
        return {};
    };
}

OptionTaker take_number(std::uint64_t& into, std::uint64_t least, std::uint64_t most, const char* what) {
    return [&into, least, most, what](const std::string& value) -> Result<void> {
        BLANKET_TRY(into, parse_number(value, least, most, what));
        return {};
    };
}

Json metric(const std::string& name, double value, const char* unit, Json goal, bool met, Json peers) {
    return {{"name", name}, {"value", value}, {"unit", unit}, {"goal", std::move(goal)}, {"met", met}, {"peers", std::move(peers)}};
}

Result<void> bring_up(Clouds& clouds, const std::string& domu) {
    BLANKET_CHECK(boot_site(clouds, east_profile()));
    BLANKET_CHECK(boot_site(clouds, west_profile()));
    for (const char* site : {"east", "west"}) BLANKET_CHECK(wait_green(clouds, site));
    BLANKET_CHECK(federate(clouds));
    return add_image(clouds, domu);
}

int run_tool(const char* name, int argc, char** argv, const std::function<Result<int>(const std::vector<std::string>&, const std::string&)>& run) {
    const std::string self = argv[0];
    const auto done = run({argv + 1, argv + argc}, self.substr(0, self.rfind('/') + 1));
    if (done) return *done;
    std::println(stderr, "{}: {} {}", name, done.error().what, done.error().hint);
    return exit_code(done.error().kind);
}

}  // namespace blanket::lab
