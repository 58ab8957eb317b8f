// amqp091-go: what users of the Go client do.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"reflect"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

type check struct {
	title string
	act   func() error
}

var ctx = context.Background()

func setting(key, otherwise string) string {
	if value := os.Getenv(key); value != "" {
		return value
	}
	return otherwise
}

func url(password, vhost string) string {
	return fmt.Sprintf("amqp://guest:%s@%s:%s/%s", password,
		setting("AMQP_HOST", "127.0.0.1"), setting("AMQP_PORT", "5672"), vhost)
}

func name(suffix string) string {
	random := make([]byte, 4)
	rand.Read(random)
	return "clients-" + suffix + "-" + hex.EncodeToString(random)
}

func same(got, wanted interface{}) error {
	if !reflect.DeepEqual(got, wanted) {
		return fmt.Errorf("got %#v, wanted %#v", got, wanted)
	}
	return nil
}

// must ends the running check; run turns it into the check's failure.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

func connect() *amqp.Connection {
	connection, err := amqp.Dial(url("guest", ""))
	must(err)
	return connection
}

func open(connection *amqp.Connection) *amqp.Channel {
	channel, err := connection.Channel()
	must(err)
	return channel
}

// scratch declares an exclusive server-named queue.
func scratch(channel *amqp.Channel, args amqp.Table) string {
	queue, err := channel.QueueDeclare("", false, false, true, false, args)
	must(err)
	return queue.Name
}

func publish(channel *amqp.Channel, queue, body string, message amqp.Publishing) {
	message.Body = []byte(body)
	must(channel.PublishWithContext(ctx, "", queue, false, false, message))
}

// confirming turns confirms on and gives a function that publishes and tells whether that was confirmed.
// It listens instead of waiting for a deferred confirm: this version of the library registers one after
// it has sent the publish, and misses an answer that is faster than that.
func confirming(channel *amqp.Channel, queue string) func(body string, message amqp.Publishing) bool {
	must(channel.Confirm(false))
	confirms := channel.NotifyPublish(make(chan amqp.Confirmation, 1))
	return func(body string, message amqp.Publishing) bool {
		publish(channel, queue, body, message)
		select {
		case confirm := <-confirms:
			return confirm.Ack
		case <-time.After(5 * time.Second):
			panic(errors.New("no confirm"))
		}
	}
}

func get(channel *amqp.Channel, queue string, autoAck bool) amqp.Delivery {
	for n := 0; n < 200; n++ {
		message, ok, err := channel.Get(queue, autoAck)
		must(err)
		if ok {
			return message
		}
		time.Sleep(20 * time.Millisecond)
	}
	panic(errors.New("no message"))
}

// received is the next delivery, or a failure of the check after five seconds.
func received(deliveries <-chan amqp.Delivery) amqp.Delivery {
	select {
	case message := <-deliveries:
		return message
	case <-time.After(5 * time.Second):
		panic(errors.New("no delivery"))
	}
}

func refused(err error, code int) {
	var refusal *amqp.Error
	if !errors.As(err, &refusal) {
		panic(fmt.Errorf("wanted %d, got %v", code, err))
	}
	must(same(refusal.Code, code))
}

// with runs the act on a fresh connection with a channel.
func with(act func(connection *amqp.Connection, channel *amqp.Channel)) func() error {
	return func() error {
		connection := connect()
		defer connection.Close()
		act(connection, open(connection))
		return nil
	}
}

func run(c check) (err error) {
	defer func() {
		if failure := recover(); failure != nil {
			err = fmt.Errorf("%v", failure)
		}
	}()
	return c.act()
}

func wrongPassword() error {
	_, err := amqp.Dial(url("wrong", ""))
	refused(err, 403)
	return nil
}

func missingVhost() error {
	_, err := amqp.Dial(url("guest", "clients-none"))
	refused(err, 403) // the library makes its own error of it, with this code
	return nil
}

func declareBindPublishGet(_ *amqp.Connection, channel *amqp.Channel) {
	exchange, queue := name("x"), scratch(channel, nil)
	must(channel.ExchangeDeclare(exchange, "topic", false, true, false, false, nil))
	must(channel.QueueBind(queue, "a.#", exchange, false, nil))
	must(channel.PublishWithContext(ctx, exchange, "a.b", false, false, amqp.Publishing{Body: []byte("hello")}))
	message := get(channel, queue, true)
	must(same(string(message.Body), "hello"))
	must(same(message.RoutingKey, "a.b"))
	must(channel.QueueUnbind(queue, "a.#", exchange, nil))
}

func countsPurgeDelete(_ *amqp.Connection, channel *amqp.Channel) {
	queue := scratch(channel, nil)
	send := confirming(channel, queue)
	for n := 0; n < 3; n++ {
		must(same(send("", amqp.Publishing{}), true))
	}
	state, err := channel.QueueInspect(queue)
	must(err)
	must(same(state.Messages, 3))
	purged, err := channel.QueuePurge(queue, false)
	must(err)
	must(same(purged, 3))
	_, err = channel.QueueDelete(queue, true, true, false)
	must(err)
}

func thousandConfirms(_ *amqp.Connection, channel *amqp.Channel) {
	queue := scratch(channel, nil)
	must(channel.Confirm(false))
	confirms := channel.NotifyPublish(make(chan amqp.Confirmation, 1000))
	for n := 0; n < 1000; n++ {
		publish(channel, queue, "m", amqp.Publishing{DeliveryMode: amqp.Persistent})
	}
	for n := uint64(1); n <= 1000; n++ {
		select {
		case confirm := <-confirms:
			must(same(confirm, amqp.Confirmation{DeliveryTag: n, Ack: true}))
		case <-time.After(5 * time.Second):
			panic(errors.New("confirms missing"))
		}
	}
}

func nackOnOverflow(_ *amqp.Connection, channel *amqp.Channel) {
	queue := scratch(channel, amqp.Table{"x-max-length": 1, "x-overflow": "reject-publish"})
	send := confirming(channel, queue)
	for _, wanted := range []bool{true, false} {
		must(same(send("", amqp.Publishing{}), wanted))
	}
}

func mandatoryReturn(_ *amqp.Connection, channel *amqp.Channel) {
	returns := channel.NotifyReturn(make(chan amqp.Return, 1))
	must(channel.PublishWithContext(ctx, "", "clients-nowhere", true, false, amqp.Publishing{Body: []byte("back")}))
	select {
	case message := <-returns:
		must(same(message.ReplyCode, uint16(312)))
		must(same(string(message.Body), "back"))
	case <-time.After(5 * time.Second):
		panic(errors.New("no return"))
	}
}

func immediateIs540(connection *amqp.Connection, channel *amqp.Channel) {
	closed := connection.NotifyClose(make(chan *amqp.Error, 1))
	must(channel.PublishWithContext(ctx, "", "clients-nowhere", false, true, amqp.Publishing{}))
	refused(<-closed, 540)
}

func consumeWithPrefetch(_ *amqp.Connection, channel *amqp.Channel) {
	queue := scratch(channel, nil)
	must(channel.Qos(3, 0, false))
	for n := 0; n < 20; n++ {
		publish(channel, queue, fmt.Sprint(n), amqp.Publishing{})
	}
	deliveries, err := channel.Consume(queue, "", false, false, false, false, nil)
	must(err)
	for n := 0; n < 20; n++ {
		message := received(deliveries)
		must(same(string(message.Body), fmt.Sprint(n)))
		must(message.Ack(false))
	}
}

func nackRejectMultiple(_ *amqp.Connection, channel *amqp.Channel) {
	queue := scratch(channel, nil)
	publish(channel, queue, "a", amqp.Publishing{})
	must(get(channel, queue, false).Nack(false, true))
	again := get(channel, queue, false)
	must(same(again.Redelivered, true))
	must(again.Reject(false))
	for n := 0; n < 3; n++ {
		publish(channel, queue, fmt.Sprint(n), amqp.Publishing{})
	}
	get(channel, queue, false)
	must(get(channel, queue, false).Ack(true))
	must(same(string(get(channel, queue, true).Body), "2"))
}

func headersOfEveryType(_ *amqp.Connection, channel *amqp.Channel) {
	queue := scratch(channel, nil)
	headers := amqp.Table{
		"bool": true, "byte": byte(200), "int8": int8(-5), "int16": int16(-300), "int32": int32(-70000), "int64": int64(1) << 40,
		"float32": float32(0.5), "float64": 1.25, "text": "größe", "bytes": []byte{0, 255}, "nil": nil,
		"time": time.Unix(1700000000, 0), "decimal": amqp.Decimal{Scale: 2, Value: 314},
		"list": []interface{}{int32(1), "a", true}, "table": amqp.Table{"inner": amqp.Table{"n": int32(1)}},
	}
	publish(channel, queue, "m", amqp.Publishing{Headers: headers})
	got := get(channel, queue, true).Headers
	for key, wanted := range headers {
		if moment, ok := wanted.(time.Time); ok {
			must(same(got[key].(time.Time).Unix(), moment.Unix()))
		} else if err := same(got[key], wanted); err != nil {
			panic(fmt.Errorf("%s: %v", key, err))
		}
	}
	must(same(len(got), len(headers)))
}

func properties(_ *amqp.Connection, channel *amqp.Channel) {
	queue := scratch(channel, nil)
	sent := amqp.Publishing{ContentType: "text/plain", ContentEncoding: "utf-8", DeliveryMode: 2, Priority: 3,
		CorrelationId: "c", ReplyTo: "r", Expiration: "60000", MessageId: "m", Timestamp: time.Unix(1700000000, 0),
		Type: "t", UserId: "guest", AppId: "a"}
	publish(channel, queue, "m", sent)
	got := get(channel, queue, true)
	must(same([]interface{}{got.ContentType, got.ContentEncoding, got.DeliveryMode, got.Priority, got.CorrelationId,
		got.ReplyTo, got.Expiration, got.MessageId, got.Timestamp.Unix(), got.Type, got.UserId, got.AppId},
		[]interface{}{"text/plain", "utf-8", uint8(2), uint8(3), "c", "r", "60000", "m", int64(1700000000), "t", "guest", "a"}))
}

func largeAndEmptyBodies(_ *amqp.Connection, channel *amqp.Channel) {
	queue, large := scratch(channel, nil), make([]byte, 3<<20)
	rand.Read(large)
	for _, body := range [][]byte{large, {}} {
		publish(channel, queue, string(body), amqp.Publishing{})
		must(same(bytes.Equal(get(channel, queue, true).Body, body), true))
	}
}

func smallFrames() error {
	connection, err := amqp.DialConfig(url("guest", ""), amqp.Config{FrameSize: 4096, ChannelMax: 10})
	must(err)
	defer connection.Close()
	must(same(connection.Config.FrameSize, 4096))
	must(same(connection.Config.ChannelMax, 10))
	largeAndEmptyBodies(connection, open(connection))
	return nil
}

func directReplyTo(connection *amqp.Connection, client *amqp.Channel) {
	server := open(connection)
	queue := scratch(server, nil)
	requests, err := server.Consume(queue, "", true, false, false, false, nil)
	must(err)
	replies, err := client.Consume("amq.rabbitmq.reply-to", "", true, false, false, false, nil)
	must(err)
	publish(client, queue, "ask", amqp.Publishing{ReplyTo: "amq.rabbitmq.reply-to", CorrelationId: "7"})
	request := received(requests)
	publish(server, request.ReplyTo, "answer", amqp.Publishing{CorrelationId: request.CorrelationId})
	reply := received(replies)
	must(same(string(reply.Body)+reply.CorrelationId, "answer7"))
}

func exchangeToExchange(_ *amqp.Connection, channel *amqp.Channel) {
	first, second, queue := name("a"), name("b"), scratch(channel, nil)
	for _, exchange := range []string{first, second} {
		must(channel.ExchangeDeclare(exchange, "fanout", false, true, false, false, nil))
	}
	must(channel.ExchangeBind(second, "", first, false, nil))
	must(channel.QueueBind(queue, "", second, false, nil))
	must(channel.PublishWithContext(ctx, first, "", false, false, amqp.Publishing{Body: []byte("through")}))
	must(same(string(get(channel, queue, true).Body), "through"))
	must(channel.ExchangeUnbind(second, "", first, false, nil))
}

func transactions(_ *amqp.Connection, channel *amqp.Channel) {
	queue := scratch(channel, nil)
	must(channel.Tx())
	publish(channel, queue, "no", amqp.Publishing{})
	must(channel.TxRollback())
	publish(channel, queue, "yes", amqp.Publishing{})
	must(channel.TxCommit())
	must(same(string(get(channel, queue, true).Body), "yes"))
}

func cancelNotification(connection *amqp.Connection, channel *amqp.Channel) {
	queue := name("q")
	_, err := channel.QueueDeclare(queue, false, false, false, false, nil)
	must(err)
	cancels := channel.NotifyCancel(make(chan string, 1))
	_, err = channel.Consume(queue, "mine", false, false, false, false, nil)
	must(err)
	_, err = open(connection).QueueDelete(queue, false, false, false)
	must(err)
	select {
	case tag := <-cancels:
		must(same(tag, "mine"))
	case <-time.After(5 * time.Second):
		panic(errors.New("no cancel"))
	}
}

func channelErrors(connection *amqp.Connection, keeper *amqp.Channel) {
	queue := name("q")
	_, err := keeper.QueueDeclare(queue, false, false, true, false, nil)
	must(err)
	_, err = open(connection).QueueDeclarePassive("clients-none", false, false, false, false, nil)
	refused(err, 404)
	_, err = open(connection).QueueDeclare("amq.clients", false, false, false, false, nil)
	refused(err, 403)
	_, err = open(connection).QueueDeclare(queue, false, false, true, false, amqp.Table{"x-max-length": 3})
	refused(err, 406)
	other := connect()
	defer other.Close()
	_, err = open(other).QueueDeclarePassive(queue, false, false, false, false, nil)
	refused(err, 405)
	_, err = open(connection).QueueInspect(queue)
	must(err)
}

func doubleAck(_ *amqp.Connection, channel *amqp.Channel) {
	queue := scratch(channel, nil)
	publish(channel, queue, "m", amqp.Publishing{})
	closed := channel.NotifyClose(make(chan *amqp.Error, 1))
	message := get(channel, queue, false)
	must(message.Ack(false))
	must(message.Ack(false))
	refused(<-closed, 406)
}

func ttlAndDeadLetters(_ *amqp.Connection, channel *amqp.Channel) {
	dead := scratch(channel, nil)
	queue := scratch(channel, amqp.Table{"x-message-ttl": int32(50), "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
	publish(channel, queue, "late", amqp.Publishing{})
	death := get(channel, dead, true).Headers["x-death"].([]interface{})[0].(amqp.Table)
	must(same([]interface{}{death["reason"], death["queue"], death["count"]}, []interface{}{"expired", queue, int64(1)}))
}

func priorityQueue(_ *amqp.Connection, channel *amqp.Channel) {
	queue, order := scratch(channel, amqp.Table{"x-max-priority": 10}), ""
	send := confirming(channel, queue)
	for _, priority := range []uint8{1, 9, 5} {
		must(same(send(fmt.Sprint(priority), amqp.Publishing{Priority: priority}), true))
	}
	for n := 0; n < 3; n++ {
		order += string(get(channel, queue, true).Body)
	}
	must(same(order, "951"))
}

func exclusiveConsumer(_ *amqp.Connection, channel *amqp.Channel) {
	queue := scratch(channel, nil)
	_, err := channel.Consume(queue, "one", false, true, false, false, nil)
	must(err)
	_, err = channel.Consume(queue, "two", false, false, false, false, nil)
	refused(err, 403)
}

func heartbeats() error {
	connection, err := amqp.DialConfig(url("guest", ""), amqp.Config{Heartbeat: time.Second})
	must(err)
	defer connection.Close()
	time.Sleep(3500 * time.Millisecond)
	scratch(open(connection), nil)
	return nil
}

func main() {
	checks := []check{
		{"connect and close", func() error { return connect().Close() }},
		{"wrong password", wrongPassword},
		{"missing vhost", missingVhost},
		{"declare, bind, publish, get", with(declareBindPublishGet)},
		{"counts, purge, delete", with(countsPurgeDelete)},
		{"1000 confirms in flight", with(thousandConfirms)},
		{"nack on overflow", with(nackOnOverflow)},
		{"mandatory return", with(mandatoryReturn)},
		{"immediate is 540", with(immediateIs540)},
		{"consume with prefetch and ack", with(consumeWithPrefetch)},
		{"nack, reject, multiple ack", with(nackRejectMultiple)},
		{"headers of every type", with(headersOfEveryType)},
		{"properties", with(properties)},
		{"large and empty bodies", with(largeAndEmptyBodies)},
		{"frame size 4096", smallFrames},
		{"direct reply-to", with(directReplyTo)},
		{"exchange to exchange", with(exchangeToExchange)},
		{"transactions", with(transactions)},
		{"consumer cancel on queue delete", with(cancelNotification)},
		{"channel errors 404, 403, 406, 405", with(channelErrors)},
		{"double ack closes the channel", with(doubleAck)},
		{"TTL and dead letters", with(ttlAndDeadLetters)},
		{"priority queue", with(priorityQueue)},
		{"exclusive consumer", with(exclusiveConsumer)},
		{"heartbeats keep an idle connection", heartbeats},
	}
	failed := 0
	for _, c := range checks {
		if err := run(c); err != nil {
			failed++
			fmt.Printf("not ok %s: %v\n", c.title, err)
		} else {
			fmt.Printf("ok %s\n", c.title)
		}
	}
	fmt.Printf("%d passed, %d failed\n", len(checks)-failed, failed)
	if failed > 0 {
		os.Exit(1)
	}
}
