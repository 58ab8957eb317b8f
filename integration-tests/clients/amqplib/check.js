// amqplib: what users of the promise API do.
'use strict';
const amqp = require('amqplib');
const crypto = require('crypto');

const host = process.env.AMQP_HOST || '127.0.0.1';
const port = process.env.AMQP_PORT || '5672';
const url = (password = 'guest', query = '') => `amqp://guest:${password}@${host}:${port}/${query}`;
const checks = [];
const check = (title, act) => checks.push([title, act]);
const name = (suffix) => `clients-${suffix}-${crypto.randomBytes(4).toString('hex')}`;
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

function same(got, wanted, what = 'value') {
  const [a, b] = [JSON.stringify(got), JSON.stringify(wanted)];
  if (a !== b) throw new Error(`${what}: got ${a}, wanted ${b}`);
}

async function connected(act, query) {
  const connection = await amqp.connect(url('guest', query));
  connection.on('error', () => {});
  try {
    return await act(connection);
  } finally {
    await connection.close().catch(() => {});
  }
}

const channelled = (act) => connected(async (connection) => act(await open(connection), connection));

async function open(connection, confirm) {
  const channel = confirm ? await connection.createConfirmChannel() : await connection.createChannel();
  channel.on('error', () => {});
  return channel;
}

const scratch = async (channel, args) =>
  (await channel.assertQueue('', { exclusive: true, arguments: args })).queue;

async function get(channel, queue, noAck = true) {
  for (let n = 0; n < 200; n += 1) {
    const message = await channel.get(queue, { noAck });
    if (message) return message;
    await sleep(20);
  }
  throw new Error('no message');
}

async function within(promise, ms = 5000) {
  let timer;
  const late = new Promise((_, fail) => { timer = setTimeout(() => fail(new Error('too late')), ms); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// The act must close its channel with this code; what the connection allows goes on.
async function refused(connection, code, act) {
  const channel = await open(connection);
  try {
    await act(channel);
  } catch (error) {
    same(error.code, code, error.message);
    return;
  }
  throw new Error(`no ${code}`);
}

check('connect and close', () => connected(async (connection) => {
  same(connection.connection.serverProperties.capabilities['basic.nack'], true);
}));

check('wrong password', async () => {
  try {
    await amqp.connect(url('wrong'));
  } catch (error) {
    if (!/403|ACCESS.REFUSED/.test(error.message)) throw error;
    return;
  }
  throw new Error('let in');
});

check('missing vhost', async () => {
  try {
    await amqp.connect(url('guest', 'clients-none'));
  } catch (error) {
    if (!/530|ConnectionClose/.test(error.message)) throw error;
    return;
  }
  throw new Error('let in');
});

check('declare, bind, publish, get', () => channelled(async (ch) => {
  const [exchange, queue] = [name('x'), await scratch(ch)];
  await ch.assertExchange(exchange, 'topic', { autoDelete: true, durable: false });
  await ch.bindQueue(queue, exchange, '*.b');
  ch.publish(exchange, 'a.b', Buffer.from('hello'));
  const message = await get(ch, queue);
  same([message.content.toString(), message.fields.routingKey], ['hello', 'a.b']);
  same(await ch.get(queue), false);
}));

check('counts, purge, delete', () => channelled(async (_, connection) => {
  const ch = await open(connection, true);
  const queue = await scratch(ch);
  for (let n = 0; n < 3; n += 1) ch.sendToQueue(queue, Buffer.from('m'));
  await ch.waitForConfirms();
  same((await ch.checkQueue(queue)).messageCount, 3);
  same((await ch.purgeQueue(queue)).messageCount, 3);
  same((await ch.deleteQueue(queue)).messageCount, 0);
}));

check('one confirm', () => connected(async (connection) => {
  const ch = await open(connection, true);
  await new Promise((done, fail) => {
    ch.sendToQueue('clients-nowhere', Buffer.from('m'), {}, (error) => (error ? fail(error) : done()));
  });
}));

check('1000 confirms in flight', () => connected(async (connection) => {
  const ch = await open(connection, true);
  const queue = await scratch(ch);
  let sure = 0;
  for (let n = 0; n < 1000; n += 1) {
    ch.sendToQueue(queue, Buffer.from(`${n}`), { persistent: true }, (error) => { sure += error ? 0 : 1; });
  }
  await within(ch.waitForConfirms());
  same(sure, 1000);
  same((await ch.checkQueue(queue)).messageCount, 1000);
}));

check('nack on overflow', () => connected(async (connection) => {
  const ch = await open(connection, true);
  const queue = await scratch(ch, { 'x-max-length': 1, 'x-overflow': 'reject-publish' });
  const send = () => new Promise((done) => { ch.sendToQueue(queue, Buffer.from('m'), {}, done); });
  same([!await send(), !await send()], [true, false]);
}));

check('mandatory return', () => channelled(async (ch) => {
  const returned = new Promise((done) => { ch.once('return', done); });
  ch.publish('', 'clients-nowhere', Buffer.from('back'), { mandatory: true });
  const message = await within(returned);
  same([message.fields.replyCode, message.content.toString()], [312, 'back']);
}));

check('consume with prefetch and ack', () => channelled(async (ch) => {
  const queue = await scratch(ch);
  for (let n = 0; n < 20; n += 1) ch.sendToQueue(queue, Buffer.from(`${n}`));
  await ch.prefetch(5);
  const seen = [];
  await within(new Promise((done, fail) => {
    ch.consume(queue, (message) => {
      seen.push(Number(message.content));
      ch.ack(message);
      if (seen.length === 20) done();
    }).catch(fail);
  }));
  same(seen, [...Array(20).keys()]);
}));

check('nack and reject', () => channelled(async (ch) => {
  const queue = await scratch(ch);
  ch.sendToQueue(queue, Buffer.from('a'));
  ch.nack(await get(ch, queue, false));
  const again = await get(ch, queue, false);
  same(again.fields.redelivered, true);
  ch.reject(again, false);
  same(await ch.get(queue), false);
}));

check('ackAll and recover', () => channelled(async (ch) => {
  const queue = await scratch(ch);
  for (let n = 0; n < 3; n += 1) ch.sendToQueue(queue, Buffer.from(`${n}`));
  await get(ch, queue, false);
  ch.ackAll();
  await get(ch, queue, false);
  await ch.recover();
  same((await get(ch, queue)).content.toString(), '1');
}));

check('headers of every type', () => channelled(async (ch) => {
  const queue = await scratch(ch);
  const headers = {
    bool: true, small: 5, negative: -70000, large: 2 ** 40, double: 1.5, text: 'größe', none: null,
    list: [1, 'a', [true]], table: { inner: { n: 1 } },
    short: { '!': 'int16', value: 300 }, stamp: { '!': 'timestamp', value: 1700000000 },
    decimal: { '!': 'decimal', value: { places: 2, digits: 314 } }, float: { '!': 'float', value: 0.5 },
  };
  ch.sendToQueue(queue, Buffer.from('m'), { headers });
  const got = (await get(ch, queue)).properties.headers;
  const wanted = { ...headers, short: 300, float: 0.5 };
  same(Object.keys(got), Object.keys(wanted));
  for (const key of Object.keys(wanted)) same(got[key], wanted[key], key);
}));

check('a Buffer as header', () => channelled(async (ch) => {
  const queue = await scratch(ch);
  ch.sendToQueue(queue, Buffer.from('m'), { headers: { bytes: Buffer.from([0, 255]) } });
  same([...(await get(ch, queue)).properties.headers.bytes], [0, 255]);
}));

check('properties', () => channelled(async (ch) => {
  const queue = await scratch(ch);
  const options = {
    contentType: 'text/plain', contentEncoding: 'utf-8', deliveryMode: 2, priority: 3,
    correlationId: 'c', replyTo: 'r', expiration: '60000', messageId: 'm', timestamp: 1700000000,
    type: 't', userId: 'guest', appId: 'a',
  };
  ch.sendToQueue(queue, Buffer.from('m'), options);
  const got = (await get(ch, queue)).properties;
  for (const [key, value] of Object.entries(options)) same(got[key], value, key);
}));

check('large and empty bodies', () => channelled(async (ch) => {
  const queue = await scratch(ch);
  for (const body of [crypto.randomBytes(3 << 20), Buffer.alloc(0)]) {
    ch.sendToQueue(queue, body);
    same((await get(ch, queue)).content.equals(body), true, `${body.length} bytes`);
  }
}));

check('frame size 4096, body of 1 MiB', () => connected(async (connection) => {
  const [ch, body] = [await open(connection), crypto.randomBytes(1 << 20)];
  const queue = await scratch(ch);
  ch.sendToQueue(queue, body);
  same((await get(ch, queue)).content.equals(body), true);
}, '?frameMax=4096'));

check('direct reply-to', () => channelled(async (ch, connection) => {
  const server = await open(connection);
  const queue = await scratch(server);
  await server.consume(queue, (m) => server.sendToQueue(
    m.properties.replyTo, Buffer.from(`${m.content}!`), { correlationId: m.properties.correlationId },
  ), { noAck: true });
  const answer = new Promise((done) => {
    ch.consume('amq.rabbitmq.reply-to', done, { noAck: true }).then(() => ch.sendToQueue(
      queue, Buffer.from('ask'), { replyTo: 'amq.rabbitmq.reply-to', correlationId: '7' },
    ));
  });
  const message = await within(answer);
  same([message.content.toString(), message.properties.correlationId], ['ask!', '7']);
}));

check('exchange to exchange', () => channelled(async (ch) => {
  const [first, second, queue] = [name('a'), name('b'), await scratch(ch)];
  await ch.assertExchange(first, 'fanout', { autoDelete: true, durable: false });
  await ch.assertExchange(second, 'fanout', { autoDelete: true, durable: false });
  await ch.bindExchange(second, first, '');
  await ch.bindQueue(queue, second, '');
  ch.publish(first, '', Buffer.from('through'));
  same((await get(ch, queue)).content.toString(), 'through');
  await ch.unbindExchange(second, first, '');
}));

check('alternate exchange and headers exchange', () => channelled(async (ch) => {
  const [x, ae, yes, no] = [name('x'), name('ae'), await scratch(ch), await scratch(ch)];
  await ch.assertExchange(ae, 'fanout', { autoDelete: true, durable: false });
  await ch.assertExchange(x, 'headers', { autoDelete: true, durable: false, alternateExchange: ae });
  await ch.bindQueue(yes, x, '', { 'x-match': 'all', a: 1, b: 'two' });
  await ch.bindQueue(no, ae, '');
  ch.publish(x, '', Buffer.from('yes'), { headers: { a: 1, b: 'two', c: 3 } });
  ch.publish(x, '', Buffer.from('no'), { headers: { a: 1 } });
  same([`${(await get(ch, yes)).content}`, `${(await get(ch, no)).content}`], ['yes', 'no']);
}));

check('consumer cancel on queue delete', () => channelled(async (ch, connection) => {
  const [other, queue] = [await open(connection), name('q')];
  await ch.assertQueue(queue, { durable: false });
  const cancelled = new Promise((done) => { ch.consume(queue, done); });
  await ch.checkQueue(queue);
  await other.deleteQueue(queue);
  same(await within(cancelled), null);
}));

check('channel errors 404, 403, 406, 405', () => connected(async (connection) => {
  const [queue, keeper] = [name('q'), await open(connection)];
  await keeper.assertQueue(queue, { exclusive: true });
  await refused(connection, 404, (ch) => ch.checkQueue('clients-none'));
  await refused(connection, 403, (ch) => ch.assertQueue('amq.clients'));
  await refused(connection, 406, (ch) => ch.assertQueue(queue, { exclusive: true, maxLength: 3 }));
  await connected((other) => refused(other, 405, (ch) => ch.checkQueue(queue)));
  same((await keeper.checkQueue(queue)).consumerCount, 0);
}));

check('double ack closes the channel', () => channelled(async (ch) => {
  const queue = await scratch(ch);
  ch.sendToQueue(queue, Buffer.from('m'));
  const message = await get(ch, queue, false);
  const closed = new Promise((done) => { ch.once('error', done); });
  ch.ack(message);
  ch.ack(message);
  same((await within(closed)).code, 406);
}));

check('TTL and dead letters', () => channelled(async (ch) => {
  const dead = await scratch(ch);
  const { queue } = await ch.assertQueue('', {
    exclusive: true, messageTtl: 50, deadLetterExchange: '', deadLetterRoutingKey: dead,
  });
  ch.sendToQueue(queue, Buffer.from('late'));
  const message = await get(ch, dead);
  const death = message.properties.headers['x-death'][0];
  same([death.reason, death.queue, death.count], ['expired', queue, 1]);
}));

check('priority queue', () => connected(async (connection) => {
  const ch = await open(connection, true);
  const { queue } = await ch.assertQueue('', { exclusive: true, maxPriority: 10 });
  for (const priority of [1, 9, 5]) ch.sendToQueue(queue, Buffer.from(`${priority}`), { priority });
  await ch.waitForConfirms();
  const order = [];
  for (let n = 0; n < 3; n += 1) order.push(`${(await get(ch, queue)).content}`);
  same(order, ['9', '5', '1']);
}));

check('update secret', () => connected((connection) => connection.updateSecret(Buffer.from('guest'), 'renewed')));

check('heartbeats keep an idle connection', () => connected(async (connection) => {
  let error = null;
  connection.on('error', (e) => { error = e; });
  await sleep(3500);
  same(error, null);
  await scratch(await open(connection));
}, '?heartbeat=1'));

(async () => {
  let failed = 0;
  for (const [title, act] of checks) {
    try {
      await within(Promise.resolve(act()), 30000);
      console.log(`ok ${title}`);
    } catch (error) {
      failed += 1;
      console.log(`not ok ${title}: ${error.message}`);
    }
  }
  console.log(`${checks.length - failed} passed, ${failed} failed`);
  process.exit(failed ? 1 : 0);
})();
