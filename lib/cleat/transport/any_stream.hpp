#pragma once

#include <cleat/base/leaf_or_task.hpp>
#include <cleat/transport/poller.hpp>
#include <cleat/transport/transport.hpp>

#include <memory>
#include <utility>

namespace cleat {

/// Any transport in one type: the box at boundaries (the network, a server's connections). Costs
/// one allocation a stream and a virtual call an operation. Empty after it was moved from; then
/// only assignment and destruction.
class any_stream {
 public:
  /// What an implementation provides; the promises are `Transport`'s.
  class model {
   public:
    virtual ~model() = default;
    virtual task<result<void>> readable() = 0;
    virtual result<std::size_t> read(std::span<std::byte> into) noexcept = 0;
    virtual task<result<void>> writable() = 0;
    virtual result<std::size_t> write(std::span<bytes_view const> gather) noexcept = 0;
    virtual void close() noexcept = 0;
    [[nodiscard]] virtual environment::executor_type executor() const = 0;
    /// The descriptor that is waited for, if it is one of the poller's: then waits are leaves.
    [[nodiscard]] virtual detail::pollable* polled() noexcept { return nullptr; }
  };
  using wait = leaf_or_task<detail::ready_wait, result<void>>;

  explicit any_stream(std::unique_ptr<model> stream) noexcept : model_(std::move(stream)) {}

  /// Puts any transport into the box.
  template <Transport T>
  [[nodiscard]] static any_stream of(T stream) {
    return any_stream{std::make_unique<holder<T>>(std::move(stream))};
  }

  wait readable() {
    if (auto* const p = model_->polled())
      return wait{std::in_place_type<detail::ready_wait>, *p, std::uint32_t{EPOLLIN}};
    return wait{model_->readable()};
  }
  result<std::size_t> read(std::span<std::byte> into) noexcept { return model_->read(into); }
  wait writable() {
    if (auto* const p = model_->polled())
      return wait{std::in_place_type<detail::ready_wait>, *p, std::uint32_t{EPOLLOUT}};
    return wait{model_->writable()};
  }
  result<std::size_t> write(std::span<bytes_view const> gather) noexcept {
    return model_->write(gather);
  }
  void close() noexcept {
    if (model_) model_->close();
  }
  [[nodiscard]] environment::executor_type executor() const { return model_->executor(); }

 private:
  template <class T>
  class holder final : public model {
   public:
    explicit holder(T stream) : stream_(std::move(stream)) {}
    task<result<void>> readable() override {
      auto r = co_await stream_.readable();
      co_return r;
    }
    result<std::size_t> read(std::span<std::byte> into) noexcept override {
      return stream_.read(into);
    }
    task<result<void>> writable() override {
      auto r = co_await stream_.writable();
      co_return r;
    }
    result<std::size_t> write(std::span<bytes_view const> gather) noexcept override {
      return stream_.write(gather);
    }
    void close() noexcept override { stream_.close(); }
    [[nodiscard]] environment::executor_type executor() const override {
      return stream_.executor();
    }

   private:
    T stream_;
  };

  std::unique_ptr<model> model_;
};

static_assert(Transport<any_stream>);

}  // namespace cleat
