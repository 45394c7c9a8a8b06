// The Go client franz-go. Words: tests/compat/README.md.
package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const baseMs = 1_700_000_000_000

func main() {
	var err error
	switch {
	case len(os.Args) == 10 && os.Args[1] == "produce":
		err = produce(os.Args[2:])
	case len(os.Args) == 5 && os.Args[1] == "consume":
		err = consume(os.Args[2], os.Args[3], os.Args[4])
	case len(os.Args) == 7 && os.Args[1] == "join":
		err = join(os.Args[2], os.Args[3], os.Args[4], os.Args[5], os.Args[6])
	case len(os.Args) == 7 && os.Args[1] == "transact":
		err = transact(os.Args[2], os.Args[3], os.Args[4], os.Args[5], os.Args[6])
	default:
		err = fmt.Errorf("usage: franz produce|consume|join|transact ..., see tests/compat/README.md")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// acks is the log of acknowledged records; flushed often, since the demo follows it.
type acks struct {
	sync.Mutex
	file  *bufio.Writer
	count int
	err   error
}

func (a *acks) told(number int, record *kgo.Record, err error) {
	a.Lock()
	defer a.Unlock()
	if err != nil {
		if a.err == nil {
			a.err = fmt.Errorf("record %d: %w", number, err)
		}
		return
	}
	fmt.Fprintf(a.file, "%d %d %d\n", number, record.Partition, record.Offset)
	if a.count++; a.count%100 == 0 {
		a.file.Flush()
	}
}

func produce(words []string) error {
	bootstrap, topic, path, name := words[0], words[1], words[2], words[5]
	first, err1 := strconv.Atoi(words[3])
	end, err2 := strconv.Atoi(words[4])
	rate, err3 := strconv.ParseFloat(words[6], 64)
	for _, err := range []error{err1, err2, err3} {
		if err != nil {
			return err
		}
	}
	out, err := os.Create(words[7])
	if err != nil {
		return err
	}
	defer out.Close()
	log := &acks{file: bufio.NewWriter(out)}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(bootstrap),
		kgo.DefaultProduceTopic(topic),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(5*time.Millisecond), // no delivery timeout: it would count from the records' own timestamps
		kgo.UnknownTopicRetries(100),
		kgo.RetryBackoffFn(func(int) time.Duration { return 100 * time.Millisecond }),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	began := time.Now()
	lines := bufio.NewScanner(file)
	for number := 0; number < end && lines.Scan(); number++ {
		if number < first {
			continue
		}
		key, value, _ := bytes.Cut(bytes.Clone(lines.Bytes()), []byte{'\t'})
		record := &kgo.Record{
			Key: key, Value: value, Timestamp: time.UnixMilli(baseMs + int64(number)),
			Headers: []kgo.RecordHeader{
				{Key: "producer", Value: []byte(name)}, {Key: "seq", Value: []byte(strconv.Itoa(number))},
			},
		}
		client.Produce(context.Background(), record, func(r *kgo.Record, err error) { log.told(number, r, err) })
		if sent := number - first; sent%100 == 0 {
			time.Sleep(time.Duration(float64(sent)/rate*1e9) - time.Since(began))
		}
	}
	if err := client.Flush(context.Background()); err != nil {
		return err
	}
	log.Lock()
	defer log.Unlock()
	log.file.Flush()
	if log.err == nil && log.count != end-first {
		return fmt.Errorf("%d of %d records acknowledged", log.count, end-first)
	}
	return log.err
}

// offsets asks for each partition's first (-2) or end (-1) offset.
func offsets(client *kgo.Client, topic string, which int64) (map[int32]int64, error) {
	ask := kmsg.NewPtrMetadataRequest()
	asked := kmsg.NewMetadataRequestTopic()
	asked.Topic = kmsg.StringPtr(topic)
	ask.Topics = append(ask.Topics, asked)
	meta, err := ask.RequestWith(context.Background(), client)
	if err != nil {
		return nil, err
	}
	list := kmsg.NewPtrListOffsetsRequest()
	of := kmsg.NewListOffsetsRequestTopic()
	of.Topic = topic
	for _, partition := range meta.Topics[0].Partitions {
		one := kmsg.NewListOffsetsRequestTopicPartition()
		one.Partition, one.Timestamp = partition.Partition, which
		of.Partitions = append(of.Partitions, one)
	}
	list.Topics = append(list.Topics, of)
	answer, err := list.RequestWith(context.Background(), client)
	if err != nil {
		return nil, err
	}
	found := map[int32]int64{}
	for _, partition := range answer.Topics[0].Partitions {
		if partition.ErrorCode != 0 {
			return nil, fmt.Errorf("offsets of partition %d: error %d", partition.Partition, partition.ErrorCode)
		}
		found[partition.Partition] = partition.Offset
	}
	return found, nil
}

func consume(bootstrap, topic, path string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.FetchMaxWait(500*time.Millisecond))
	if err != nil {
		return err
	}
	defer client.Close()
	starts, err := offsets(client, topic, -2)
	if err != nil {
		return err
	}
	left, err := offsets(client, topic, -1)
	if err != nil {
		return err
	}
	from := map[int32]kgo.Offset{}
	for partition, end := range left {
		if end == starts[partition] {
			delete(left, partition)
			continue
		}
		from[partition] = kgo.NewOffset().At(starts[partition])
	}
	file, err := os.Create(path + ".part")
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(file, 1<<20)
	client.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: from})
	for len(left) > 0 {
		patience, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		fetches := client.PollFetches(patience)
		cancel()
		if errs := fetches.Errors(); len(errs) > 0 {
			return fmt.Errorf("%w; still to read: %v", errs[0].Err, left)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			var headers []string
			for _, header := range r.Headers {
				headers = append(headers, header.Key+"="+string(header.Value))
			}
			fmt.Fprintf(out, "%d\t%d\t%d\t%s\t%s\t%s\n", r.Partition, r.Offset, r.Timestamp.UnixMilli(),
				strings.Join(headers, ","), r.Key, r.Value)
			if end, waiting := left[r.Partition]; waiting && r.Offset+1 >= end {
				delete(left, r.Partition)
			}
		})
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	return os.Rename(path+".part", path)
}

// join is a member of a group: a line a record it read, in the file before it is committed; it leaves at SIGTERM.
func join(bootstrap, topic, group, strategy, path string) error {
	balancers := map[string]kgo.GroupBalancer{
		"range": kgo.RangeBalancer(), "cooperative-sticky": kgo.CooperativeStickyBalancer(),
	}
	balancer, known := balancers[strategy]
	if !known {
		return fmt.Errorf("no strategy %q", strategy)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ConsumeTopics(topic), kgo.ConsumerGroup(group),
		kgo.Balancers(balancer), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(6*time.Second), kgo.HeartbeatInterval(500*time.Millisecond))
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	leave, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	for leave.Err() == nil {
		fetches := client.PollRecords(leave, 200)
		var lines bytes.Buffer
		fetches.EachRecord(func(r *kgo.Record) { fmt.Fprintf(&lines, "%d\t%d\t%s\n", r.Partition, r.Offset, r.Value) })
		if lines.Len() > 0 {
			if _, err := file.Write(lines.Bytes()); err != nil {
				return err
			}
			// A failure means that someone reads this again.
			client.CommitUncommittedOffsets(leave)
		}
		client.AllowRebalance()
	}
	client.CloseAllowingRebalance()
	return file.Close()
}

// transact reads a topic, writes each record to another, and its positions with it, in transactions, of which each fifth
// is written twice and aborted first; leaves at SIGTERM.
func transact(bootstrap, source, target, group, name string) error {
	leaving, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	count := 0
	for leaving.Err() == nil {
		if err := transactSession(leaving, &count, bootstrap, source, target, group, name); err != nil {
			fmt.Fprintln(os.Stderr, err)
			time.Sleep(200 * time.Millisecond)
		}
	}
	return nil
}

// transactSession goes on until it is to leave, or an error ends its producer.
func transactSession(leaving context.Context, count *int, bootstrap, source, target, group, name string) error {
	session, err := kgo.NewGroupTransactSession(
		kgo.SeedBrokers(bootstrap),
		kgo.TransactionalID(name),
		kgo.TransactionTimeout(10*time.Second),
		kgo.DefaultProduceTopic(target),
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(source),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.RequireStableFetchOffsets(),
		kgo.SessionTimeout(6*time.Second),
		kgo.HeartbeatInterval(500*time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 100 * time.Millisecond }),
	)
	if err != nil {
		return err
	}
	defer session.Close()
	for leaving.Err() == nil {
		fetches := session.PollRecords(leaving, 50)
		records := fetches.Records()
		if len(records) == 0 {
			continue
		}
		*count++
		if *count%5 == 0 {
			if err := session.Begin(); err != nil {
				return err
			}
			for _, record := range records {
				value := append([]byte("aborted-"), record.Value...)
				session.Produce(context.Background(), &kgo.Record{Key: record.Key, Value: value}, nil)
			}
			if err := session.Client().Flush(context.Background()); err != nil {
				return err
			}
			if err := session.Client().EndTransaction(context.Background(), kgo.TryAbort); err != nil {
				return err
			}
		}
		if err := session.Begin(); err != nil {
			return err
		}
		var failed kgo.FirstErrPromise
		for _, record := range records {
			session.Produce(context.Background(), &kgo.Record{Key: record.Key, Value: record.Value}, failed.Promise())
		}
		commit := failed.Err() == nil
		if _, err := session.End(context.Background(), kgo.TransactionEndTry(commit)); err != nil {
			return err
		}
	}
	return nil
}
