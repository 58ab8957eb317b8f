# Bunny: what users of the Ruby client do.
require 'bunny'
require 'securerandom'

HOST = ENV.fetch('AMQP_HOST', '127.0.0.1')
PORT = ENV.fetch('AMQP_PORT', '5672').to_i
CHECKS = []

def check(title, &act) = CHECKS << [title, act]
def name(suffix) = "clients-#{suffix}-#{SecureRandom.hex(4)}"

def same(got, wanted)
  raise "got #{got.inspect}, wanted #{wanted.inspect}" unless got == wanted
end

def session(**options)
  Bunny.new(host: HOST, port: PORT, user: 'guest', password: 'guest', log_level: Logger::FATAL,
            recover_from_connection_close: false, automatically_recover: false, **options)
end

def connected(**options)
  connection = session(**options).start
  yield connection
ensure
  connection&.close if connection&.open?
end

def channelled(**options) = connected(**options) { |connection| yield connection.create_channel, connection }

# The next message of the queue, waited for.
def get(queue, **options)
  250.times do
    delivery, properties, body = queue.pop(**options)
    return [delivery, properties, body] if delivery
    sleep 0.02
  end
  raise 'no message'
end

def refused(error)
  yield
  raise "no #{error}"
rescue error
  true
end

def take(from) = Timeout.timeout(5) { from.pop }

check('connect and close') { connected { |c| same c.server_capabilities['publisher_confirms'], true } }

check('wrong password') do
  refused(Bunny::AuthenticationFailureError) { session(password: 'wrong').start }
end

check('declare, bind, publish, get') do
  channelled do |ch|
    exchange = ch.topic(name('x'), auto_delete: true)
    queue = ch.queue('', exclusive: true).bind(exchange, routing_key: 'a.#')
    exchange.publish('hello', routing_key: 'a.b')
    delivery, _, body = get(queue)
    same [delivery.routing_key, body], ['a.b', 'hello']
  end
end

check('1000 confirms in flight') do
  channelled do |ch|
    queue = ch.queue('', exclusive: true)
    ch.confirm_select
    1000.times { |n| queue.publish(n.to_s, persistent: true) }
    same ch.wait_for_confirms, true
    same queue.message_count, 1000
    queue.purge
    same queue.message_count, 0
  end
end

check('nack on overflow') do
  channelled do |ch|
    queue = ch.queue('', exclusive: true, arguments: { 'x-max-length' => 1, 'x-overflow' => 'reject-publish' })
    ch.confirm_select
    2.times { queue.publish('m') }
    same ch.wait_for_confirms, false
  end
end

check('mandatory return') do
  channelled do |ch|
    returned = Queue.new
    exchange = ch.default_exchange
    exchange.on_return { |info, _, body| returned << [info.reply_code, body] }
    exchange.publish('back', routing_key: 'clients-nowhere', mandatory: true)
    same take(returned), [312, 'back']
  end
end

check('consume with prefetch and ack') do
  channelled do |ch|
    queue = ch.queue('', exclusive: true)
    20.times { |n| queue.publish(n.to_s) }
    ch.prefetch(5)
    seen = Queue.new
    queue.subscribe(manual_ack: true) do |delivery, _, body|
      seen << body.to_i
      ch.ack(delivery.delivery_tag)
    end
    same (0...20).map { take(seen) }, (0...20).to_a
  end
end

check('nack, reject, redelivered') do
  channelled do |ch|
    queue = ch.queue('', exclusive: true)
    queue.publish('a')
    delivery, = get(queue, manual_ack: true)
    ch.nack(delivery.delivery_tag, false, true)
    delivery, = get(queue, manual_ack: true)
    same delivery.redelivered?, true
    ch.reject(delivery.delivery_tag, false)
    same queue.pop.first, nil
  end
end

check('headers of every type') do
  channelled do |ch|
    queue = ch.queue('', exclusive: true)
    headers = { 'bool' => true, 'int' => -5, 'long' => 2**40, 'float' => 1.25, 'text' => 'größe', 'none' => nil,
                'list' => [1, 'a'], 'table' => { 'inner' => { 'n' => 1 } }, 'time' => Time.at(1_700_000_000) }
    queue.publish('m', headers: headers)
    _, properties, = get(queue)
    got = properties.headers
    got['text'] = got['text'].dup.force_encoding('UTF-8')
    same got, headers
  end
end

check('large and empty bodies') do
  channelled do |ch|
    queue = ch.queue('', exclusive: true)
    [SecureRandom.bytes(3 << 20), ''].each do |body|
      queue.publish(body)
      same get(queue)[2].b == body.b, true
    end
  end
end

check('direct reply-to') do
  channelled do |ch, connection|
    server = connection.create_channel
    queue = server.queue('', exclusive: true)
    queue.subscribe do |_, properties, body|
      server.default_exchange.publish(body.upcase, routing_key: properties.reply_to)
    end
    answers = Queue.new
    ch.basic_consume('amq.rabbitmq.reply-to', 'answers', true) { |_, _, body| answers << body }
    ch.default_exchange.publish('ask', routing_key: queue.name, reply_to: 'amq.rabbitmq.reply-to')
    same take(answers), 'ASK'
  end
end

check('exchange to exchange') do
  channelled do |ch|
    first, second = %w[a b].map { |n| ch.fanout(name(n), auto_delete: true) }
    second.bind(first)
    queue = ch.queue('', exclusive: true).bind(second)
    first.publish('through')
    same get(queue)[2], 'through'
    second.unbind(first)
  end
end

check('tx commit and rollback') do
  channelled do |ch|
    queue = ch.queue('', exclusive: true)
    ch.tx_select
    queue.publish('no')
    ch.tx_rollback
    queue.publish('yes')
    ch.tx_commit
    same get(queue)[2], 'yes'
  end
end

check('consumer cancel on queue delete') do
  channelled do |ch, connection|
    queue = ch.queue(name('q'))
    cancelled = Queue.new
    queue.subscribe_with(Bunny::Consumer.new(ch, queue).tap { |c| c.on_cancellation { cancelled << true } })
    connection.create_channel.queue_delete(queue.name)
    same take(cancelled), true
  end
end

check('channel errors 404, 403, 406, 405') do
  connected do |c|
    queue = name('q')
    c.create_channel.queue(queue, exclusive: true)
    refused(Bunny::NotFound) { c.create_channel.queue('clients-none', passive: true) }
    refused(Bunny::AccessRefused) { c.create_channel.queue('amq.clients', durable: false) }
    refused(Bunny::PreconditionFailed) { c.create_channel.queue(queue, exclusive: true, arguments: { 'x-max-length' => 3 }) }
    connected { |other| refused(Bunny::ResourceLocked) { other.create_channel.queue(queue, passive: true) } }
    same c.create_channel.queue(queue, passive: true).consumer_count, 0
  end
end

check('TTL and dead letters') do
  channelled do |ch|
    dead = ch.queue('', exclusive: true)
    queue = ch.queue('', exclusive: true, arguments: { 'x-message-ttl' => 50, 'x-dead-letter-exchange' => '',
                                                       'x-dead-letter-routing-key' => dead.name })
    queue.publish('late')
    _, properties, = get(dead)
    death = properties.headers['x-death'].first
    same death.values_at('reason', 'queue', 'count'), ['expired', queue.name, 1]
  end
end

check('priority queue') do
  channelled do |ch|
    queue = ch.queue('', exclusive: true, arguments: { 'x-max-priority' => 10 })
    ch.confirm_select
    [1, 9, 5].each { |priority| queue.publish(priority.to_s, priority: priority) }
    ch.wait_for_confirms
    same Array.new(3) { get(queue)[2] }, %w[9 5 1]
  end
end

check('heartbeats keep an idle connection') do
  channelled(heartbeat: 2) do |ch|
    sleep 7
    same ch.queue('', exclusive: true).message_count, 0
  end
end

failed = CHECKS.count do |title, act|
  Timeout.timeout(30, &act)
  puts "ok #{title}"
  false
rescue StandardError, Timeout::Error => e
  puts "not ok #{title}: #{e.class}: #{e.message}"
  true
end
puts "#{CHECKS.size - failed} passed, #{failed} failed"
exit(failed.zero? ? 0 : 1)
