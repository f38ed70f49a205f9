#include "dry_run.hpp"

#include <cleat/base/bytes.hpp>
#include <cleat/base/call.hpp>
#include <cleat/base/entropy.hpp>
#include <common/settings.hpp>
#include <toggle/protocol.hpp>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>

#include <string>
#include <utility>

namespace toggler {

namespace json = boost::json;

int dry_run(options const& o, boost::asio::io_context& context, cleat::log_sink& sink) {
  toggle::protocol const speaks{toggle::protocol_options{o.op_id, cleat::f00d_options{o.reply}}};
  cleat::call const c{context.get_executor()};
  auto const request = o.ask_only ? toggle::request::status(o.device_id)
                                  : toggle::request::turn(o.device_id, o.state);
  auto const made = speaks.open(request, c, cleat::entropy::of(context.get_executor()).next());
  cleat::byte_buffer frame;
  auto const encoded = made ? speaks.encode(made->message, frame) : made.error();
  if (!encoded) {
    apps::complain("toggler", encoded.error().message());
    return usage;
  }

  auto const payload = cleat::as_text(frame).substr(cleat::detail::f00d_header_bytes);
  json::object record;
  record.emplace("event", "dry_run");
  record.emplace("direction", "send");
  record.emplace("msg_id", made->message.msg_id.view());
  record.emplace("device_id", o.device_id);
  record.emplace("raw_packet_hex", cleat::to_hex(frame));
  record.emplace("payload", json::parse({payload.data(), payload.size()}));
  std::string const what = std::to_string(frame.size()) + " bytes for " + o.device_id;
  sink.write(cleat::log_level::info, what + ", not sent", std::move(record));
  if (auto const written = sink.flush(); !written) {  // it is all that was asked for
    apps::complain("toggler", written.error().detail());
    return environment;
  }
  apps::complain("toggler", "dry run: " + what + ", not sent");
  return done;
}

}  // namespace toggler
