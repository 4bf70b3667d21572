// SPDX-License-Identifier: GPL-2.0-or-later
// base/json: JSON from peers, the registry and files; printed and parsed again it is the same.
#include "toolstack/base/json.hpp"

#include "tests/fuzz/fuzz.hpp"

namespace blanket::fuzz {

const std::size_t target::kHeap = 1u << 20;

std::vector<std::string> target::seeds() {
    const Json all{{"text", "\u00e9\n\"\\"}, {"list", {1, -1, 1.5, 1e300, true, nullptr}}, {"deep", {{"er", Json::array()}}}, {"big", ~std::uint64_t{0}}};
    return {all.dump(), to_json(Error{Kind::kConflict, "what", "hint"}).dump(), std::string(64, '[') + std::string(64, ']'), std::string(65, '[') + std::string(65, ']'),
            R"({"a":1,"a":"\ud83d\ude00"})", R"(["\ud800"])", R"({"error":{"kind":"none","what":7}})", " 12345678901234567890123 ", "-0", "\xef\xbb\xbf{}", "1e999"};
}

void target::run(Input input) {
    const std::string text = input.rest_text();
    const auto value = parse_json(text);
    require_refusal(value, "parse_json");
    require(!parse_json(text, text.empty() ? 0 : text.size() - 1) || text.empty(), "text beyond the bound was parsed");
    if (!value) return;
    const std::string printed = value->dump();  // what was parsed is UTF-8
    const auto again = parse_json(printed);
    require_value(again, "what was printed");
    require(*again == *value || printed.contains("null"), "another value after printing");  // a number beyond a double's range
    require(again->dump() == printed, "another text after printing");
    const Error error = error_from_json(*value);
    if (value->is_object() && value->contains("error")) {
        const Error same = error_from_json(to_json(error));
        require(same.kind == error.kind && same.what == error.what && same.hint == error.hint, "an error changes on its way");
    }
    for (const std::string_view field : {"text", "list", "deep", "big", "a"}) {
        if (const auto string = json_string(*value, field)) require(json_string_or(*value, field, "") == *string, "two ways to one text");
        if (const auto number = json_number(*value, field)) require(json_number_or(*value, field, 1) == *number, "two ways to one number");
    }
}

}  // namespace blanket::fuzz
