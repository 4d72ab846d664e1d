package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"sync"
	"time"

	"github.com/godwit-im/godwit"
)

// pollWindow bounds the entries the application has not taken: above it the next
// poll waits, as a server waits on a WebSocket.
const pollWindow = 512

// poller is one session over HTTP: a goroutine that has one poll outstanding at
// any time, and one that posts commands (rpc.go). A request that fails ends it,
// and the loop resumes with another: what came before the failure counts.
type poller struct {
	cfg      *Config
	client   http.Client
	base     *url.URL // of "poll" and "rpc"
	token    string
	encoding godwit.Encoding
	events   chan<- event
	gone     chan struct{} // closed by discard: nobody listens any more
	goneOnce sync.Once
	wakePoll chan struct{} // capacity 1: connect, acked or paused changed
	wakePost chan struct{} // capacity 1: outbound has something

	pushed godwit.Seq // last entry handed on; the poll goroutine's own

	mu       sync.Mutex
	connect  *godwit.Connect // how the session begins; nil: not asked yet
	acked    godwit.Seq      // the application took everything up to here
	paused   bool            // no new poll
	polling  bool            // a poll is outstanding
	outbound []command       // in order; one POST takes what fits
	held     bool            // no POST: the loop has not heard yet what was refused
	bytes    int             // in outbound
	messages int             // bytes of one POST at most
	commands int             // frames of one POST at most
	wait     time.Duration   // of one poll
}

// newPoller makes a poller for the server whose WebSocket address is given. It
// does no I/O; its error is an *attemptError.
func newPoller(cfg *Config, address, token string, events chan<- event) (*poller, error) {
	base, err := url.Parse(address)
	if err != nil {
		return nil, &attemptError{remedy: backOff, err: fmt.Errorf("parse url: %w", err)}
	}
	base.Scheme = map[string]string{"ws": "http", "wss": "https"}[base.Scheme]
	p := &poller{
		cfg: cfg, base: base, token: token, encoding: cfg.Encoding.wire(), events: events,
		gone: make(chan struct{}), wakePoll: make(chan struct{}, 1), wakePost: make(chan struct{}, 1),
	}
	p.limit(&godwit.Limits{})
	p.client = http.Client{
		// A transport of its own: after a goaway a new session needs a new connection.
		Transport: &http.Transport{
			DialContext: cfg.Dial, TLSClientConfig: cfg.TLS.Clone(), TLSHandshakeTimeout: cfg.OpenTimeout,
			DisableCompression: true, IdleConnTimeout: 90 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return p, nil
}

// limit takes over the server's bounds; zero means that it named none.
func (p *poller) limit(l *godwit.Limits) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.messages, p.commands, p.wait = 64<<10, 50, p.cfg.PollWait
	if l.Frame > 0 {
		p.messages = max(int(l.Frame), frameBytesMin)
	}
	if l.RPC > 0 {
		p.commands = int(l.RPC)
	}
	if l.Wait > 0 {
		p.wait = min(p.wait, time.Duration(l.Wait)*time.Second)
	}
}

func (p *poller) start(ended *sync.WaitGroup) {
	ctx, cancel := context.WithCancel(context.Background())
	var both sync.WaitGroup
	both.Go(func() { p.pollLoop(ctx) })
	both.Go(func() { p.postLoop(ctx) })
	ended.Go(func() {
		<-p.gone
		cancel()
		both.Wait()
		p.client.CloseIdleConnections()
	})
}

// write takes what a WebSocket would carry. Pings have no meaning here, and acks
// only let the next poll go out.
func (p *poller) write(f *godwit.ClientFrame) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch f.Kind {
	case godwit.KindPing:
	case godwit.KindAck:
		p.acked = max(p.acked, f.Ack.Seq)
		nudge(p.wakePoll)
	case godwit.KindConnect:
		connect := f.Connect
		p.connect = &connect
		nudge(p.wakePoll)
	default:
		return p.enqueueLocked(f)
	}
	return nil
}

func (p *poller) finish() { p.discard() }

func (p *poller) discard() { p.goneOnce.Do(func() { close(p.gone) }) }

// pause keeps the next poll back, and reports whether one is outstanding.
func (p *poller) pause() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused = true
	return p.polling
}

func (p *poller) unpause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused = false
	nudge(p.wakePoll)
}

func nudge(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// tell reports whether the loop took the event.
func (p *poller) tell(e event) bool {
	e.from = p
	select {
	case p.events <- e:
		return true
	case <-p.gone:
		return false
	}
}

// answer is what a poll brought.
type answer struct {
	frames []godwit.ServerFrame
	cursor string // where the next poll begins
	goaway bool
}

var (
	// errCut: the answer broke off. What came of it is good.
	errCut = errors.New("client: the answer broke off")
	// errGone: the server cannot resume there.
	errGone = &attemptError{remedy: comeBack, status: http.StatusGone, err: fmt.Errorf("poll: %w", godwit.ErrPollGone)}
)

// pollLoop polls until something fails. A cursor is passed on, which acknowledges
// what came before it, only when the loop has taken that.
func (p *poller) pollLoop(ctx context.Context) {
	cursor, early := "", 0
	pause := backoff{first: p.cfg.BackoffFirst, limit: p.cfg.BackoffMax, random: p.cfg.random}
	for {
		first := cursor == ""
		if !p.mayPoll(first) {
			return
		}
		began := p.cfg.clock.Now()
		var a answer
		var err error
		var wait time.Duration
		if first {
			a, err = p.firstPoll(ctx)
		} else {
			a, wait, err = p.nextPoll(ctx, cursor)
		}
		if len(a.frames) > 0 && !p.tell(event{frames: a.frames}) {
			return
		}
		if err != nil {
			p.tell(event{err: err})
			return
		}
		cursor = a.cursor
		// An empty answer before its time: a newer poll of this device ended it, or
		// the server drains. Once is normal; asking at once again and again is not.
		if first || len(a.frames) > 0 && !a.goaway || p.cfg.clock.Now().Sub(began) >= wait/2 {
			early = 0
			pause.reset()
		} else if early++; early > 1 && !p.sleep(pause.after(backOff, closeReason{})) {
			return
		}
	}
}

func (p *poller) sleep(d time.Duration) bool {
	alarm, stop := p.cfg.clock.Alarm(p.cfg.clock.Now().Add(d))
	defer stop()
	select {
	case <-alarm:
		return true
	case <-p.gone:
		return false
	}
}

// mayPoll waits until a poll may go out; false when the poller is gone.
func (p *poller) mayPoll(first bool) bool {
	for {
		p.mu.Lock()
		room := p.pushed <= p.acked || p.pushed-p.acked <= pollWindow
		p.polling = p.connect != nil && (first || room && !p.paused)
		polling := p.polling
		p.mu.Unlock()
		if polling {
			return true
		}
		select {
		case <-p.wakePoll:
		case <-p.gone:
			return false
		}
	}
}

// firstPoll begins the session: its first frame is the connect reply. It never
// asks to be held, for its answer is the round trip that proves the transport.
func (p *poller) firstPoll(ctx context.Context) (answer, error) {
	p.mu.Lock()
	connect := *p.connect
	p.mu.Unlock()
	q := url.Values{"device": {string(connect.Device)}, "wait": {"0"}}
	if stamp := connect.Resume.Stamp; len(stamp) > 0 {
		q.Set("stamp", string(stamp))
	}
	a, err := p.poll(ctx, q, 0)
	switch {
	case err != nil:
		return answer{}, err
	case len(a.frames) == 0 || a.frames[0].Kind != godwit.KindConnect:
		return answer{}, fmt.Errorf("poll without a connect reply: %w", godwit.ErrFrameInvalid)
	}
	r, resume := &a.frames[0].Connect, connect.Resume
	p.limit(&r.Limits)
	switch {
	case !resume.Set:
	case r.Epoch != string(resume.Epoch):
		r.Reason = "epoch"
	case r.Seq < resume.Seq:
		r.Reason = "ahead"
	case r.Seq == resume.Seq && len(resume.Channels) == 0:
		r.Resumed = true
	default:
		a, err = p.resume(ctx, q, resume, a)
	}
	p.begin(resume, &a.frames[0].Connect)
	return a, err
}

// resume asks for what comes after a sequence below the head. When the server has
// it no more, the session goes on from the head.
func (p *poller) resume(ctx context.Context, q url.Values, resume godwit.Resume, head answer) (answer, error) {
	q.Set("epoch", string(resume.Epoch))
	q.Set("seq", strconv.FormatUint(uint64(resume.Seq), 10))
	if places := channelQuery(resume.Channels); places != "" {
		q.Set("channels", places)
	}
	r := &head.frames[0].Connect
	if r.Stamp != "" {
		q.Set("stamp", r.Stamp)
	}
	a, err := p.poll(ctx, q, 0)
	if errors.Is(err, godwit.ErrPollGone) {
		r.Reason = "too_far"
		return head, nil
	}
	r.Resumed, r.Missed = true, uint64(r.Seq-resume.Seq)
	a.frames = append(head.frames[:1:1], a.frames...) // where its channels begin is said anew
	a.goaway = a.goaway || head.goaway
	return a, err
}

// channelQuery writes places as a poll takes them: ID:GSEQ,… sorted by id.
func channelQuery(places []godwit.ChannelPlace) string {
	var list []byte
	for _, p := range places {
		if len(list) > 0 {
			list = append(list, ',')
		}
		list = append(append(list, bytes.TrimPrefix(p.Conv, []byte("g:"))...), ':')
		list = strconv.AppendUint(list, uint64(p.GSeq), 10)
	}
	return string(list)
}

// begin notes from where on entries are owed to the application.
func (p *poller) begin(resume godwit.Resume, r *godwit.ConnectReply) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.acked = r.Seq
	if r.Resumed {
		p.acked = resume.Seq
	}
	p.pushed = max(p.pushed, p.acked)
}

func (p *poller) nextPoll(ctx context.Context, cursor string) (answer, time.Duration, error) {
	p.mu.Lock()
	wait, device := p.wait, string(p.connect.Device)
	p.mu.Unlock()
	seconds := max(int(wait/time.Second), 1)
	wait = time.Duration(seconds) * time.Second
	q := url.Values{"device": {device}, "c": {cursor}, "wait": {strconv.Itoa(seconds)}}
	a, err := p.poll(ctx, q, wait)
	var refused *attemptError
	if errors.As(err, &refused) {
		err = refused.later()
	}
	return a, wait, err
}

// poll is one GET. On errCut the frames before the cut are returned, too.
func (p *poller) poll(ctx context.Context, q url.Values, wait time.Duration) (a answer, err error) {
	defer func() {
		p.mu.Lock()
		p.polling = false
		p.mu.Unlock()
	}()
	status, header, body, err := p.do(ctx, http.MethodGet, "poll", q, nil, wait+p.cfg.OpenTimeout)
	switch {
	case status == http.StatusGone:
		return answer{}, errGone
	case status != 0 && status != http.StatusOK:
		return answer{}, statusError("poll", status, header, body)
	}
	frames, cut := p.read(body, err)
	for i := range frames {
		switch f := &frames[i]; f.Kind {
		case godwit.KindPoll:
			a.cursor = f.Poll.Cursor
		case godwit.KindEvent:
			if f.Event.Seq != 0 { // else it is of a channel
				p.pushed = max(p.pushed, end(&f.Event))
			}
		case godwit.KindSkip:
			p.pushed = max(p.pushed, f.Skip.To)
		case godwit.KindGoaway:
			a.goaway = true
		}
	}
	if n := len(frames); a.cursor != "" && frames[n-1].Kind == godwit.KindPoll {
		frames = frames[:n-1]
	} else if cut == nil {
		cut = errCut
	}
	a.frames = frames
	return a, cut
}

// do is one request. status is 0 when no answer came; a body that broke off is
// returned as far as it came, with the error.
func (p *poller) do(ctx context.Context, method, name string, q url.Values, body []byte, limit time.Duration) (status int, header http.Header, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	u := *p.base
	u.Path, u.RawPath = path.Join(path.Dir(u.Path), name), ""
	if u.Path == name {
		u.Path = "/" + name
	}
	query := u.Query()
	for key, values := range q {
		query[key] = values
	}
	u.RawQuery = query.Encode()
	r, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	media := mediaTypes[p.encoding]
	r.Header.Set("Authorization", "Bearer "+p.token)
	r.Header.Set("Accept", media)
	if method == http.MethodPost {
		r.Header.Set("Content-Type", media)
		// Sends carry client ids: net/http may repeat a request that met a connection
		// which the server had just closed. Empty: the header itself is not sent.
		r.Header["Idempotency-Key"] = []string{}
	}
	response, err := p.client.Do(r)
	if err != nil {
		var full *url.Error
		if errors.As(err, &full) {
			err = full.Err // without the address
		}
		return 0, nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(response.Body, inboundBytesMax))
	if err != nil {
		err = fmt.Errorf("%s: %w: %w", name, errCut, err)
	}
	return response.StatusCode, response.Header, answer, err
}

var mediaTypes = [...]string{godwit.EncodingJSON: "application/x-ndjson", godwit.EncodingProto: "application/x-protobuf"}

// read parses an answer. Of one that broke off, with err, it reads the whole
// frames, and a broken last one is no fault of the server.
func (p *poller) read(body []byte, err error) ([]godwit.ServerFrame, error) {
	if err == nil {
		return parseMessage(p.encoding, body)
	}
	frames, _ := parseMessage(p.encoding, wholeFrames(p.encoding, body))
	return frames, err
}

// wholeFrames is the part of a broken message that ends with a frame.
func wholeFrames(encoding godwit.Encoding, body []byte) []byte {
	if encoding == godwit.EncodingJSON {
		return body[:bytes.LastIndexByte(body, '\n')+1]
	}
	for rest := body; len(rest) > 0; {
		_, next, err := godwit.NextFrame(encoding, rest)
		if err != nil {
			return body[:len(body)-len(rest)]
		}
		rest = next
	}
	return body
}
