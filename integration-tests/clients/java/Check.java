// The Java client: what its users do.
import com.rabbitmq.client.*;
import com.rabbitmq.client.impl.LongStringHelper;
import java.nio.charset.StandardCharsets;
import java.util.*;
import java.util.concurrent.*;

public class Check {
    interface Act { void run() throws Exception; }
    interface Work { void run(Connection connection, Channel channel) throws Exception; }

    static final Map<String, Act> CHECKS = new LinkedHashMap<>();
    static final String HOST = System.getenv().getOrDefault("AMQP_HOST", "127.0.0.1");
    static final int PORT = Integer.parseInt(System.getenv().getOrDefault("AMQP_PORT", "5672"));
    static final Random RANDOM = new Random();

    static ConnectionFactory factory() {
        ConnectionFactory factory = new ConnectionFactory();
        factory.setHost(HOST);
        factory.setPort(PORT);
        factory.setAutomaticRecoveryEnabled(false);
        return factory;
    }

    static String name(String suffix) {
        return "clients-" + suffix + "-" + Integer.toHexString(RANDOM.nextInt());
    }

    static void same(Object got, Object wanted) {
        if (!Objects.equals(got, wanted)) throw new AssertionError("got " + got + ", wanted " + wanted);
    }

    static byte[] bytes(String text) { return text.getBytes(StandardCharsets.UTF_8); }

    static String text(byte[] body) { return new String(body, StandardCharsets.UTF_8); }

    static void with(String title, Work work) {
        CHECKS.put(title, () -> {
            try (Connection connection = factory().newConnection()) {
                work.run(connection, connection.createChannel());
            }
        });
    }

    static String scratch(Channel channel, Object... args) throws Exception {
        Map<String, Object> arguments = new HashMap<>();
        for (int n = 0; n < args.length; n += 2) arguments.put((String) args[n], args[n + 1]);
        return channel.queueDeclare("", false, true, false, arguments).getQueue();
    }

    static void publish(Channel channel, String queue, String body) throws Exception {
        channel.basicPublish("", queue, null, bytes(body));
    }

    static GetResponse get(Channel channel, String queue, boolean autoAck) throws Exception {
        for (int n = 0; n < 200; n++) {
            GetResponse response = channel.basicGet(queue, autoAck);
            if (response != null) return response;
            Thread.sleep(20);
        }
        throw new AssertionError("no message");
    }

    /** The act closes its channel with this code. */
    static void refused(int code, Act act) throws Exception {
        try {
            act.run();
        } catch (java.io.IOException | ShutdownSignalException error) {
            Throwable cause = error instanceof ShutdownSignalException ? error : error.getCause();
            Method reason = ((ShutdownSignalException) cause).getReason();
            int got = reason instanceof AMQP.Channel.Close ? ((AMQP.Channel.Close) reason).getReplyCode()
                : ((AMQP.Connection.Close) reason).getReplyCode();
            same(got, code);
            return;
        }
        throw new AssertionError("no " + code);
    }

    static void connecting() {
        CHECKS.put("connect and close", () -> {
            Connection connection = factory().newConnection("clients");
            same(connection.isOpen(), true);
            Map<?, ?> capabilities = (Map<?, ?>) connection.getServerProperties().get("capabilities");
            same(capabilities.get("publisher_confirms"), true);
            connection.close();
            same(connection.isOpen(), false);
        });
        CHECKS.put("wrong password", () -> {
            ConnectionFactory factory = factory();
            factory.setPassword("wrong");
            try {
                factory.newConnection().close();
            } catch (AuthenticationFailureException error) {
                if (!error.getMessage().contains("ACCESS_REFUSED")) throw error;
                return;
            }
            throw new AssertionError("let in");
        });
        CHECKS.put("missing vhost", () -> {
            ConnectionFactory factory = factory();
            factory.setVirtualHost("clients-none");
            refused(530, () -> factory.newConnection().close());
        });
        CHECKS.put("heartbeats keep an idle connection", () -> {
            ConnectionFactory factory = factory();
            factory.setRequestedHeartbeat(1);
            try (Connection connection = factory.newConnection()) {
                same(connection.getHeartbeat(), 1);
                Thread.sleep(3500);
                scratch(connection.createChannel());
            }
        });
        CHECKS.put("frame size 4096, channel limit", () -> {
            ConnectionFactory factory = factory();
            factory.setRequestedFrameMax(4096);
            factory.setRequestedChannelMax(1);
            try (Connection connection = factory.newConnection()) {
                same(connection.getFrameMax(), 4096);
                Channel channel = connection.createChannel();
                same(connection.createChannel(), null);
                byte[] body = new byte[1 << 20];
                RANDOM.nextBytes(body);
                String queue = scratch(channel);
                channel.basicPublish("", queue, null, body);
                same(Arrays.equals(get(channel, queue, true).getBody(), body), true);
            }
        });
        CHECKS.put("automatic recovery connects", () -> {
            ConnectionFactory factory = factory();
            factory.setAutomaticRecoveryEnabled(true);
            try (Connection connection = factory.newConnection()) {
                scratch(connection.createChannel());
            }
        });
    }

    static void publishing() {
        with("declare, bind, publish, get", (connection, channel) -> {
            String exchange = name("x"), queue = scratch(channel);
            channel.exchangeDeclare(exchange, BuiltinExchangeType.TOPIC, false, true, null);
            channel.queueBind(queue, exchange, "a.*");
            channel.basicPublish(exchange, "a.b", null, bytes("hello"));
            GetResponse response = get(channel, queue, true);
            same(text(response.getBody()) + response.getEnvelope().getRoutingKey(), "helloa.b");
            same(channel.basicGet(queue, true), null);
        });
        with("confirms one by one", (connection, channel) -> {
            String queue = scratch(channel);
            channel.confirmSelect();
            for (int n = 0; n < 100; n++) {
                publish(channel, queue, "m");
                channel.waitForConfirmsOrDie(5000);
            }
            same(channel.messageCount(queue), 100L);
        });
        with("1000 confirms in flight", (connection, channel) -> {
            String queue = scratch(channel);
            channel.confirmSelect();
            for (int n = 0; n < 1000; n++) {
                channel.basicPublish("", queue, MessageProperties.MINIMAL_PERSISTENT_BASIC, bytes("m"));
            }
            channel.waitForConfirmsOrDie(10000);
            same(channel.messageCount(queue), 1000L);
            same(channel.queuePurge(queue).getMessageCount(), 1000);
        });
        with("nack on overflow", (connection, channel) -> {
            String queue = scratch(channel, "x-max-length", 1, "x-overflow", "reject-publish");
            channel.confirmSelect();
            publish(channel, queue, "a");
            same(channel.waitForConfirms(5000), true);
            publish(channel, queue, "b");
            same(channel.waitForConfirms(5000), false);
        });
        with("mandatory return before confirm", (connection, channel) -> {
            BlockingQueue<String> seen = new LinkedBlockingQueue<>();
            channel.addReturnListener((code, reason, exchange, key, props, body) -> seen.add(code + reason + text(body)));
            channel.confirmSelect();
            channel.basicPublish("", "clients-nowhere", true, null, bytes("back"));
            same(channel.waitForConfirms(5000), true);
            same(seen.poll(1, TimeUnit.SECONDS), "312NO_ROUTEback");
        });
        with("large and empty bodies", (connection, channel) -> {
            String queue = scratch(channel);
            for (int size : new int[] {3 << 20, 0}) {
                byte[] body = new byte[size];
                RANDOM.nextBytes(body);
                channel.basicPublish("", queue, null, body);
                same(Arrays.equals(get(channel, queue, true).getBody(), body), true);
            }
        });
        with("headers of every type", (connection, channel) -> {
            Map<String, Object> headers = new HashMap<>();
            headers.put("bool", true);
            headers.put("byte", (byte) -5);
            headers.put("short", (short) -300);
            headers.put("int", -70000);
            headers.put("long", 1L << 40);
            headers.put("float", 0.5f);
            headers.put("double", 1.25);
            headers.put("text", LongStringHelper.asLongString("größe"));
            headers.put("none", null);
            headers.put("time", new Date(1700000000000L));
            headers.put("decimal", new java.math.BigDecimal("3.14"));
            headers.put("list", Arrays.asList(1, true, 2L));
            headers.put("table", Collections.singletonMap("inner", Collections.singletonMap("n", 1)));
            String queue = scratch(channel);
            channel.basicPublish("", queue, new AMQP.BasicProperties.Builder().headers(headers).build(), bytes("m"));
            same(get(channel, queue, true).getProps().getHeaders(), headers);
        });
        with("bytes as header", (connection, channel) -> {
            String queue = scratch(channel);
            byte[] value = {0, -1};
            channel.basicPublish("", queue, new AMQP.BasicProperties.Builder()
                .headers(Collections.singletonMap("bytes", value)).build(), bytes("m"));
            byte[] got = (byte[]) get(channel, queue, true).getProps().getHeaders().get("bytes");
            same(Arrays.equals(got, value), true);
        });
        with("properties", (connection, channel) -> {
            AMQP.BasicProperties props = new AMQP.BasicProperties("text/plain", "utf-8", null, 2, 3, "c", "r",
                "60000", "m", new Date(1700000000000L), "t", "guest", "a", "cluster");
            String queue = scratch(channel);
            channel.basicPublish("", queue, props, bytes("m"));
            same(get(channel, queue, true).getProps().toString(), props.toString());
        });
    }

    static void consuming() {
        with("consume with prefetch and ack", (connection, channel) -> {
            String queue = scratch(channel);
            for (int n = 0; n < 20; n++) publish(channel, queue, "" + n);
            channel.basicQos(5);
            BlockingQueue<Delivery> seen = consume(channel, queue, false);
            for (int n = 0; n < 20; n++) {
                Delivery delivery = seen.poll(5, TimeUnit.SECONDS);
                same(text(delivery.getBody()), "" + n);
                channel.basicAck(delivery.getEnvelope().getDeliveryTag(), false);
            }
        });
        with("nack, reject, recover", (connection, channel) -> {
            String queue = scratch(channel);
            publish(channel, queue, "a");
            channel.basicNack(get(channel, queue, false).getEnvelope().getDeliveryTag(), false, true);
            same(get(channel, queue, false).getEnvelope().isRedeliver(), true);
            channel.basicRecover(true);
            channel.basicReject(get(channel, queue, false).getEnvelope().getDeliveryTag(), false);
            same(channel.basicGet(queue, true), null);
        });
        with("consumer cancel on queue delete", (connection, channel) -> {
            String queue = name("q");
            channel.queueDeclare(queue, false, false, false, null);
            CompletableFuture<String> cancelled = new CompletableFuture<>();
            channel.basicConsume(queue, new DefaultConsumer(channel) {
                @Override public void handleCancel(String tag) { cancelled.complete(tag); }
            });
            connection.createChannel().queueDelete(queue);
            cancelled.get(5, TimeUnit.SECONDS);
        });
        with("cancel by the client", (connection, channel) -> {
            String queue = scratch(channel);
            CompletableFuture<String> cancelled = new CompletableFuture<>();
            String tag = channel.basicConsume(queue, new DefaultConsumer(channel) {
                @Override public void handleCancelOk(String t) { cancelled.complete(t); }
            });
            same(channel.consumerCount(queue), 1L);
            channel.basicCancel(tag);
            same(cancelled.get(5, TimeUnit.SECONDS), tag);
        });
        with("direct reply-to", (connection, channel) -> {
            Channel server = connection.createChannel();
            String queue = scratch(server);
            server.basicConsume(queue, true, new DefaultConsumer(server) {
                @Override public void handleDelivery(String tag, Envelope e, AMQP.BasicProperties props, byte[] body)
                        throws java.io.IOException {
                    server.basicPublish("", props.getReplyTo(),
                        new AMQP.BasicProperties.Builder().correlationId(props.getCorrelationId()).build(), body);
                }
            });
            RpcClient client = new RpcClient(channel, "", queue, 5000);
            same(client.stringCall("ask"), "ask");
            client.close();
        });
        with("single active consumer", (connection, channel) -> {
            String queue = scratch(channel, "x-single-active-consumer", true);
            BlockingQueue<Delivery> first = consume(channel, queue, true), second = consume(channel, queue, true);
            for (int n = 0; n < 10; n++) publish(channel, queue, "m");
            for (int n = 0; n < 10; n++) same(first.poll(5, TimeUnit.SECONDS) != null, true);
            same(second.size(), 0);
        });
    }

    static class Delivery {
        final Envelope envelope;
        final byte[] body;
        Delivery(Envelope envelope, byte[] body) { this.envelope = envelope; this.body = body; }
        Envelope getEnvelope() { return envelope; }
        byte[] getBody() { return body; }
    }

    static BlockingQueue<Delivery> consume(Channel channel, String queue, boolean autoAck) throws Exception {
        BlockingQueue<Delivery> seen = new LinkedBlockingQueue<>();
        channel.basicConsume(queue, autoAck, new DefaultConsumer(channel) {
            @Override public void handleDelivery(String tag, Envelope e, AMQP.BasicProperties props, byte[] body) {
                seen.add(new Delivery(e, body));
            }
        });
        return seen;
    }

    static void rest() {
        with("exchange to exchange", (connection, channel) -> {
            String first = name("a"), second = name("b"), queue = scratch(channel);
            channel.exchangeDeclare(first, "fanout", false, true, null);
            channel.exchangeDeclare(second, "fanout", false, true, null);
            channel.exchangeBind(second, first, "");
            channel.queueBind(queue, second, "");
            channel.basicPublish(first, "", null, bytes("through"));
            same(text(get(channel, queue, true).getBody()), "through");
            channel.exchangeUnbind(second, first, "");
        });
        with("tx commit and rollback", (connection, channel) -> {
            String queue = scratch(channel);
            channel.txSelect();
            publish(channel, queue, "no");
            channel.txRollback();
            publish(channel, queue, "yes");
            channel.txCommit();
            same(text(get(channel, queue, true).getBody()), "yes");
            same(channel.basicGet(queue, true), null);
        });
        with("channel errors 404, 403, 406, 405", (connection, channel) -> {
            String queue = name("q");
            channel.queueDeclare(queue, false, true, false, null);
            refused(404, () -> connection.createChannel().queueDeclarePassive("clients-none"));
            refused(403, () -> connection.createChannel().queueDeclare("amq.clients", false, false, false, null));
            refused(406, () -> connection.createChannel().queueDeclare(queue, false, true, false,
                Collections.singletonMap("x-max-length", 3)));
            try (Connection other = factory().newConnection()) {
                refused(405, () -> other.createChannel().queueDeclarePassive(queue));
            }
            same(channel.queueDeclarePassive(queue).getMessageCount(), 0);
        });
        with("double ack closes the channel", (connection, channel) -> {
            String queue = scratch(channel);
            CompletableFuture<ShutdownSignalException> closed = new CompletableFuture<>();
            channel.addShutdownListener(closed::complete);
            publish(channel, queue, "m");
            long tag = get(channel, queue, false).getEnvelope().getDeliveryTag();
            channel.basicAck(tag, false);
            channel.basicAck(tag, false);
            refused(406, () -> { throw closed.get(5, TimeUnit.SECONDS); });
        });
        with("TTL and dead letters", (connection, channel) -> {
            String dead = scratch(channel);
            String queue = scratch(channel, "x-message-ttl", 50, "x-dead-letter-exchange", "",
                "x-dead-letter-routing-key", dead);
            publish(channel, queue, "late");
            List<?> deaths = (List<?>) get(channel, dead, true).getProps().getHeaders().get("x-death");
            Map<?, ?> death = (Map<?, ?>) deaths.get(0);
            same(death.get("reason").toString() + death.get("count"), "expired1");
        });
        with("priority queue", (connection, channel) -> {
            String queue = scratch(channel, "x-max-priority", 10), order = "";
            channel.confirmSelect();
            for (int priority : new int[] {1, 9, 5}) {
                channel.basicPublish("", queue, new AMQP.BasicProperties.Builder().priority(priority).build(),
                    bytes("" + priority));
            }
            channel.waitForConfirmsOrDie(5000);
            for (int n = 0; n < 3; n++) order += text(get(channel, queue, true).getBody());
            same(order, "951");
        });
        with("delete if unused and if empty", (connection, channel) -> {
            String queue = scratch(channel);
            publish(channel, queue, "m");
            refused(406, () -> connection.createChannel().queueDelete(queue, false, true));
            consume(channel, queue, false);
            refused(406, () -> connection.createChannel().queueDelete(queue, true, false));
            channel.queueDelete(queue);
        });
    }

    public static void main(String[] args) {
        connecting();
        publishing();
        consuming();
        rest();
        int failed = 0;
        for (Map.Entry<String, Act> check : CHECKS.entrySet()) {
            try {
                check.getValue().run();
                System.out.println("ok " + check.getKey());
            } catch (Throwable error) {
                failed++;
                System.out.println("not ok " + check.getKey() + ": " + error);
            }
        }
        System.out.println((CHECKS.size() - failed) + " passed, " + failed + " failed");
        System.exit(failed == 0 ? 0 : 1);
    }
}
