#pragma once

#include <cleat/base/clock.hpp>

#include <boost/asio/io_context.hpp>

namespace cleat {

/// Runs `context` until it has no work left, as `io_context::run` does, but looks for more work for
/// `spin` before it sleeps. A round trip between two that look is several times as fast as one that
/// wakes a sleeper, at the price of a busy core.
///
/// It adapts: when looking has found nothing several times in a row, it sleeps at once for a while,
/// so that an idle program costs next to nothing. Zero never looks. One thread runs the context.
void run(boost::asio::io_context& context, duration spin);

}  // namespace cleat
