<?php
// php-amqplib: what its users do.
require_once '/usr/share/php/PhpAmqpLib/autoload.php';

use PhpAmqpLib\Connection\AMQPStreamConnection;
use PhpAmqpLib\Exception\AMQPConnectionClosedException;
use PhpAmqpLib\Exception\AMQPProtocolChannelException;
use PhpAmqpLib\Message\AMQPMessage;
use PhpAmqpLib\Wire\AMQPTable;

$checks = [];

function check(string $title, callable $act): void
{
    global $checks;
    $checks[$title] = $act;
}

function name(string $suffix): string
{
    return "clients-$suffix-" . bin2hex(random_bytes(4));
}

function same($got, $wanted): void
{
    if ($got !== $wanted) {
        throw new Exception('got ' . json_encode($got) . ', wanted ' . json_encode($wanted));
    }
}

function connect(string $password = 'guest', int $heartbeat = 0, string $vhost = '/'): AMQPStreamConnection
{
    return new AMQPStreamConnection(getenv('AMQP_HOST') ?: '127.0.0.1', getenv('AMQP_PORT') ?: 5672, 'guest',
        $password, $vhost, false, 'AMQPLAIN', null, 'en_US', 3.0, 30.0, null, false, $heartbeat);
}

function channelled(callable $act, int $heartbeat = 0): callable
{
    return function () use ($act, $heartbeat) {
        $connection = connect('guest', $heartbeat);
        try {
            $act($connection->channel(), $connection);
        } finally {
            if ($connection->isConnected()) {
                $connection->close();
            }
        }
    };
}

function scratch($channel, array $arguments = []): string
{
    return $channel->queue_declare('', false, false, true, false, false, new AMQPTable($arguments))[0];
}

function send($channel, string $queue, string $body, array $properties = []): void
{
    $channel->basic_publish(new AMQPMessage($body, $properties), '', $queue);
}

function get($channel, string $queue, bool $noAck = true): AMQPMessage
{
    for ($n = 0; $n < 250; $n++) {
        $message = $channel->basic_get($queue, $noAck);
        if ($message) {
            return $message;
        }
        usleep(20000);
    }
    throw new Exception('no message');
}

function refused(int $code, callable $act): void
{
    try {
        $act();
    } catch (AMQPProtocolChannelException $error) {
        same($error->amqp_reply_code, $code);
        return;
    }
    throw new Exception("no $code");
}

check('connect and close', function () {
    $connection = connect();
    same($connection->isConnected(), true);
    $connection->close();
    same($connection->isConnected(), false);
});

check('wrong password', function () {
    try {
        connect('wrong');
    } catch (AMQPConnectionClosedException $error) {
        same($error->getCode(), 403);
        return;
    }
    throw new Exception('let in');
});

check('missing vhost', function () {
    try {
        connect('guest', 0, 'clients-none');
    } catch (AMQPConnectionClosedException $error) {
        same($error->getCode(), 530);
        return;
    }
    throw new Exception('let in');
});

check('declare, bind, publish, get', channelled(function ($ch) {
    [$exchange, $queue] = [name('x'), scratch($ch)];
    $ch->exchange_declare($exchange, 'topic');
    $ch->queue_bind($queue, $exchange, 'a.*');
    $ch->basic_publish(new AMQPMessage('hello'), $exchange, 'a.b');
    $message = get($ch, $queue);
    same([$message->getBody(), $message->getRoutingKey()], ['hello', 'a.b']);
    same($ch->basic_get($queue), null);
    $ch->exchange_delete($exchange);
}));

check('1000 confirms in flight', channelled(function ($ch) {
    $queue = scratch($ch);
    $sure = 0;
    $ch->set_ack_handler(function () use (&$sure) {
        $sure++;
    });
    $ch->confirm_select();
    for ($n = 0; $n < 1000; $n++) {
        send($ch, $queue, "$n", ['delivery_mode' => 2]);
    }
    $ch->wait_for_pending_acks(5);
    same($sure, 1000);
    same($ch->queue_declare($queue, true)[1], 1000);
    same($ch->queue_purge($queue), 1000);
}));

check('mandatory return', channelled(function ($ch) {
    $seen = null;
    $ch->set_return_listener(function ($code, $text, $exchange, $key, $message) use (&$seen) {
        $seen = [$code, $text, $message->getBody()];
    });
    $ch->confirm_select();
    $ch->basic_publish(new AMQPMessage('back'), '', 'clients-nowhere', true);
    $ch->wait_for_pending_acks_returns(5);
    same($seen, [312, 'NO_ROUTE', 'back']);
}));

check('consume with prefetch and ack', channelled(function ($ch) {
    $queue = scratch($ch);
    for ($n = 0; $n < 20; $n++) {
        send($ch, $queue, "$n");
    }
    $ch->basic_qos(0, 5, false);
    $seen = [];
    $ch->basic_consume($queue, '', false, false, false, false, function ($message) use (&$seen) {
        $seen[] = (int) $message->getBody();
        $message->ack();
    });
    while (count($seen) < 20) {
        $ch->wait(null, false, 5);
    }
    same($seen, range(0, 19));
}));

check('nack, reject, redelivered', channelled(function ($ch) {
    $queue = scratch($ch);
    send($ch, $queue, 'a');
    get($ch, $queue, false)->nack(true);
    $again = get($ch, $queue, false);
    same($again->isRedelivered(), true);
    $again->reject(false);
    same($ch->basic_get($queue), null);
}));

check('headers of every type', channelled(function ($ch) {
    $headers = ['bool' => true, 'int' => -5, 'long' => 2 ** 40, 'float' => 1.25, 'text' => 'größe', 'none' => null,
        'list' => [1, 'a', true], 'table' => ['inner' => ['n' => 1]]];
    $queue = scratch($ch);
    send($ch, $queue, 'm', ['application_headers' => new AMQPTable($headers), 'content_type' => 'text/plain',
        'priority' => 3, 'correlation_id' => 'c', 'expiration' => '60000', 'timestamp' => 1700000000]);
    $message = get($ch, $queue);
    $got = $message->get('application_headers')->getNativeData();
    $got['float'] = (float) $got['float'];
    same($got, $headers);
    same([$message->get('content_type'), $message->get('timestamp')], ['text/plain', 1700000000]);
}));

check('large and empty bodies', channelled(function ($ch) {
    $queue = scratch($ch);
    foreach ([random_bytes(3 << 20), ''] as $body) {
        send($ch, $queue, $body);
        same(get($ch, $queue)->getBody() === $body, true);
    }
}));

check('direct reply-to', channelled(function ($ch, $connection) {
    $queue = scratch($ch);
    $answer = null;
    $ch->basic_consume('amq.rabbitmq.reply-to', '', false, true, false, false, function ($message) use (&$answer) {
        $answer = $message->getBody();
    });
    send($ch, $queue, 'ask', ['reply_to' => 'amq.rabbitmq.reply-to']);
    $server = $connection->channel();
    send($server, get($server, $queue)->get('reply_to'), 'answer');
    $ch->wait(null, false, 5);
    same($answer, 'answer');
}));

check('exchange to exchange', channelled(function ($ch) {
    [$first, $second, $queue] = [name('a'), name('b'), scratch($ch)];
    $ch->exchange_declare($first, 'fanout');
    $ch->exchange_declare($second, 'fanout');
    $ch->exchange_bind($second, $first);
    $ch->queue_bind($queue, $second);
    $ch->basic_publish(new AMQPMessage('through'), $first);
    same(get($ch, $queue)->getBody(), 'through');
    $ch->exchange_unbind($second, $first);
    $ch->exchange_delete($first);
    $ch->exchange_delete($second);
}));

check('tx commit and rollback', channelled(function ($ch) {
    $queue = scratch($ch);
    $ch->tx_select();
    send($ch, $queue, 'no');
    $ch->tx_rollback();
    send($ch, $queue, 'yes');
    $ch->tx_commit();
    same(get($ch, $queue)->getBody(), 'yes');
}));

check('consumer cancel on queue delete', channelled(function ($ch, $connection) {
    $queue = name('q');
    $ch->queue_declare($queue);
    $ch->basic_consume($queue, 'mine', false, true, false, false, function () {
    });
    $connection->channel()->queue_delete($queue);
    try {
        $ch->wait(null, false, 5);
    } catch (PhpAmqpLib\Exception\AMQPBasicCancelException $error) {
        same($error->consumerTag, 'mine');
        return;
    }
    throw new Exception('no cancel');
}));

check('channel errors 404, 403, 406, 405', channelled(function ($ch, $connection) {
    $queue = name('q');
    $ch->queue_declare($queue, false, false, true);
    refused(404, fn () => $connection->channel()->queue_declare('clients-none', true));
    refused(403, fn () => $connection->channel()->queue_declare('amq.clients'));
    refused(406, fn () => $connection->channel()->queue_declare($queue, false, false, true, true, false,
        new AMQPTable(['x-max-length' => 3])));
    $other = connect();
    refused(405, fn () => $other->channel()->queue_declare($queue, true));
    $other->close();
    same($connection->channel()->queue_declare($queue, true)[2], 0);
}));

check('TTL and dead letters', channelled(function ($ch) {
    $dead = scratch($ch);
    $queue = scratch($ch, ['x-message-ttl' => 50, 'x-dead-letter-exchange' => '', 'x-dead-letter-routing-key' => $dead]);
    send($ch, $queue, 'late');
    $death = get($ch, $dead)->get('application_headers')->getNativeData()['x-death'][0];
    same([$death['reason'], $death['queue'], $death['count']], ['expired', $queue, 1]);
}));

check('priority queue', channelled(function ($ch) {
    $queue = scratch($ch, ['x-max-priority' => 10]);
    $ch->confirm_select();
    foreach ([1, 9, 5] as $priority) {
        send($ch, $queue, "$priority", ['priority' => $priority]);
    }
    $ch->wait_for_pending_acks(5);
    $order = '';
    for ($n = 0; $n < 3; $n++) {
        $order .= get($ch, $queue)->getBody();
    }
    same($order, '951');
}));

check('heartbeats keep an idle connection', channelled(function ($ch, $connection) {
    $until = microtime(true) + 7;
    while (microtime(true) < $until) {
        $connection->checkHeartBeat();
        try {
            $ch->wait(null, false, 0.5);
        } catch (PhpAmqpLib\Exception\AMQPTimeoutException $idle) {
            continue;
        }
    }
    scratch($ch);
}, 2));

$failed = 0;
foreach ($checks as $title => $act) {
    try {
        $act();
        echo "ok $title\n";
    } catch (Throwable $error) {
        $failed++;
        echo "not ok $title: " . get_class($error) . ': ' . $error->getMessage() . "\n";
    }
}
echo count($checks) - $failed . " passed, $failed failed\n";
exit($failed ? 1 : 0);
