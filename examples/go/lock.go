package soloist

import (
	"context"
	"errors"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "soloist/v1"
)

// WithLock waits for a lock, in the order of asking, runs body, and gives the lock up. The context of body ends when the lock is
// lost: somebody else may hold it then. The token is greater than those of all earlier holders: whatever the lock protects must
// refuse a lower one than it has seen, because a holder that was paused does not know that its lock has ended.
//
// Others wait for a holder that is gone as long as the ttl, which is at least a second. Every contender has a key of its own under
// the name of the lock: see docs/recipes.md. Clients in other languages that do the same share the lock.
func (client *Client) WithLock(
	ctx context.Context, name string, ttl time.Duration, body func(ctx context.Context, token int64) error,
) error {
	session, ctx, err := client.openSession(ctx, ttl)
	if err != nil {
		return err
	}
	defer session.close()
	write := &pb.WriteRequest{
		Key:                   name + "/" + session.id,
		Value:                 &pb.Value{Kind: &pb.Value_Text{Text: ""}},
		Lifetime:              &pb.WriteRequest_Session{Session: session.id},
		SessionCreateRevision: session.createRevision,
		Expect:                &pb.Condition{Test: &pb.Condition_Exists{Exists: false}},
		RequestId:             NewID(),
	}
	var place *pb.WriteResponse
	err = Retry(ctx, func(ctx context.Context) (err error) {
		place, err = client.State.Write(ctx, write)
		return err
	})
	if err == nil {
		err = client.turn(ctx, name, write.Key, place.CreateRevision)
	}
	if err == nil {
		err = body(ctx, place.CreateRevision)
	}
	if lost := session.lost(); lost != nil {
		return lost
	}
	return err
}

// turn waits until no key in the queue is older than this one.
func (client *Client) turn(ctx context.Context, name, key string, createRevision int64) error {
	for {
		var ahead *pb.Entry
		var seenAt int64
		isHere := false
		request := &pb.ListRequest{Prefix: name + "/", KeysOnly: true}
		for {
			var page *pb.ListResponse
			err := Retry(ctx, func(ctx context.Context) (err error) {
				page, err = client.State.List(ctx, request)
				return err
			})
			if err != nil {
				return err
			}
			for _, entry := range page.Entries {
				// A name may be the beginning of another: keys of that one have one more slash.
				if strings.Contains(entry.Key[len(request.Prefix):], "/") {
					continue
				}
				isHere = isHere || entry.Key == key && entry.CreateRevision == createRevision
				isAhead := entry.CreateRevision < createRevision
				if isAhead && entry.CreateRevision > ahead.GetCreateRevision() {
					ahead, seenAt = entry, page.Revision
				}
			}
			if request.PageToken = page.NextPageToken; request.PageToken == "" {
				break
			}
		}
		if !isHere {
			return errors.New("the place in the queue is gone, and its session with it")
		}
		if ahead == nil {
			return nil
		}
		if err := client.gone(ctx, ahead.Key, seenAt); err != nil {
			return err
		}
	}
}

var errGone = errors.New("the key is gone")

func (client *Client) gone(ctx context.Context, key string, after int64) error {
	request := &pb.WatchRequest{Target: &pb.WatchRequest_Key{Key: key}, AfterRevision: &after}
	err := client.Watch(ctx, request, func(message *pb.WatchResponse) error {
		for _, event := range message.Events {
			if event.Entry.Value == nil {
				return errGone
			}
		}
		return nil
	})
	// What has happened since cannot be told any more: look again.
	if err == errGone || Reason(err) == "REVISION_COMPACTED" {
		return nil
	}
	return err
}

// session is one that is renewed until it is lost or closed.
type session struct {
	client         *Client
	id             string
	createRevision int64
	end            context.CancelFunc
	// Closed after the last renewal.
	ended chan struct{}
	// Why it was lost, once ended is closed.
	why error
}

// openSession opens a session, and returns a context that ends when the session is lost.
func (client *Client) openSession(ctx context.Context, ttl time.Duration) (*session, context.Context, error) {
	open := &pb.OpenSessionRequest{Id: NewID(), Ttl: durationpb.New(ttl), RequestId: NewID()}
	var opened *pb.Session
	sent := time.Now()
	err := Retry(ctx, func(ctx context.Context) (err error) {
		opened, err = client.Sessions.OpenSession(ctx, open)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	ctx, end := context.WithCancel(ctx)
	session := &session{client, opened.Id, opened.CreateRevision, end, make(chan struct{}), nil}
	go func() {
		session.why = session.renew(ctx, ttl, sent)
		close(session.ended)
		end()
	}()
	return session, ctx, nil
}

// renew renews the session after each third of its ttl. The ttl counts from before a renewal was sent; the clocks of two machines
// run at slightly different rates.
func (session *session) renew(ctx context.Context, ttl time.Duration, sent time.Time) error {
	for {
		until := sent.Add(ttl - ttl/1000)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Until(sent.Add(ttl / 3))):
		}
		renewing, cancel := context.WithDeadline(ctx, until)
		request := &pb.RenewSessionRequest{Id: session.id, CreateRevision: session.createRevision}
		err := Retry(renewing, func(ctx context.Context) error {
			sent = time.Now()
			_, err := session.client.Sessions.RenewSession(ctx, request)
			return err
		})
		cancel()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if time.Now().After(until) {
			return status.Error(codes.DeadlineExceeded, "the session could not be renewed in time")
		}
	}
}

// lost returns why the session was lost, or nil.
func (session *session) lost() error {
	select {
	case <-session.ended:
		return session.why
	default:
		return nil
	}
}

// close ends the session, and its keys with it: now, or after its ttl.
func (session *session) close() {
	session.end()
	<-session.ended
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	request := &pb.CloseSessionRequest{Id: session.id, CreateRevision: session.createRevision, RequestId: NewID()}
	_, _ = session.client.Sessions.CloseSession(ctx, request)
}
