// SPDX-License-Identifier: GPL-2.0-or-later
// Tells a person what happens as it happens, with seconds since the beginning, and keeps the lines for the report. Used by the demo, the VM tests and the benches.
#pragma once

#include <chrono>
#include <cstdio>
#include <format>
#include <string>
#include <vector>

namespace blanket::lab {

class Story final {
public:
    struct Line {
        double t_s = 0;
        std::string text;
    };
    explicit Story(bool quiet = false) : quiet_(quiet) {}

    [[nodiscard]] double now_s() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count(); }
    template <typename... Args>
    void say(std::format_string<Args...> text, Args&&... args) {
        tell(std::format(text, std::forward<Args>(args)...), "   ");
    }
    template <typename... Args>
    void chapter(std::format_string<Args...> text, Args&&... args) {
        tell(std::format(text, std::forward<Args>(args)...), "== ");
    }
    [[nodiscard]] const std::vector<Line>& lines() const { return lines_; }

private:
    void tell(std::string text, const char* lead) {
        const double t_s = now_s();
        if (!quiet_) {
            std::fprintf(stdout, "%7.1f s %s%s\n", t_s, lead, text.c_str());
            std::fflush(stdout);
        }
        lines_.push_back({t_s, std::move(text)});
    }
    const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
    bool quiet_;
    std::vector<Line> lines_;
};

}  // namespace blanket::lab
