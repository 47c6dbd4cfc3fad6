#!/usr/bin/env python3
"""Times single ops against TensorFlow, one thread each: where the compute core is slow.

usage: ops_against_tensorflow.py SAVEDMODEL_CLI [NAME...]

Runs in an environment with TensorFlow. Each case is saved as a model with one signature, which
TensorFlow and `SAVEDMODEL_CLI bench` run in turn; prints the least time of both in microseconds
and their ratio. NAMEs select the cases whose name holds one of them. Calling TensorFlow from Python
costs some 50 us: cases take ten times as long.
"""
import json
import os
import subprocess
import sys
import tempfile
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import numpy as np
import tensorflow as tf

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)

R = np.random.RandomState(0)
k = tf.constant
C = {}


def F(*shape):
    return R.randn(*shape).astype(np.float32)


def case(name, fn, *args):
    C[name] = (fn, args)


big=F(1000,1000); img=F(4,128,128,32); vec=F(1000000); ints=R.randint(0,1000,1000000).astype(np.int32)
case('argmax_last',lambda x: tf.argmax(x,-1),big)
case('argmax_first',lambda x: tf.argmax(x,0),big)
case('topk_10',lambda x: tf.math.top_k(x,10)[0],big)
case('topk_200',lambda x: tf.math.top_k(x,200)[0],big)
case('sort',lambda x: tf.sort(x,-1),F(200,1000))
case('cumsum_last',lambda x: tf.cumsum(x,-1),big)
case('cumsum_first',lambda x: tf.cumsum(x,0),big)
case('transpose_2d',lambda x: tf.transpose(x),big)
case('transpose_0213',lambda x: tf.transpose(x,[0,2,1,3]),F(4,128,16,64))
case('transpose_nchw',lambda x: tf.transpose(x,[0,3,1,2]),img)
case('sum_last',lambda x: tf.reduce_sum(x,-1),big)
case('sum_first',lambda x: tf.reduce_sum(x,0),big)
case('mean_hw',lambda x: tf.reduce_mean(x,[1,2]),img)
case('max_last',lambda x: tf.reduce_max(x,-1),big)
case('max_mid',lambda x: tf.reduce_max(x,1),F(50,200,100))
case('prod_last',lambda x: tf.reduce_prod(x,-1),big)
case('all_last',lambda x: tf.reduce_all(x>0,-1),big)
case('std',lambda x: tf.math.reduce_std(x,-1),big)
case('logsumexp',lambda x: tf.reduce_logsumexp(x,-1),big)
case('where_idx',lambda x: tf.where(x>0),big)
case('select',lambda x: tf.where(x>0,x,x*0.1),big)
case('greater_cast',lambda x: tf.cast(x>0.5,tf.float32),big)
case('cast_u8',lambda x: tf.cast(x,tf.float32),R.randint(0,255,(4,224,224,3)).astype(np.uint8))
case('preproc_u8',lambda x: (tf.cast(x,tf.float32)/255.0-0.5)*2.0,R.randint(0,255,(4,224,224,3)).astype(np.uint8))
case('cast_i32',lambda x: tf.cast(x,tf.float32),ints)
case('cast_f64',lambda x: tf.cast(x,tf.float64),big)
case('cast_f16',lambda x: tf.cast(x,tf.float16),big)
case('onehot',lambda x: tf.one_hot(x,1000),ints[:1000])
case('gather_rows',lambda x,i: tf.gather(x,i),big,ints[:2000])
case('gather_axis1',lambda x,i: tf.gather(x,i,axis=1),big,ints[:500])
case('gather_batch',lambda x,i: tf.gather(x,i,batch_dims=1),F(100,1000,8),R.randint(0,1000,(100,500)).astype(np.int32))
case('gather_nd',lambda x,i: tf.gather_nd(x,i),big,R.randint(0,1000,(100000,2)).astype(np.int32))
case('scatter_nd',lambda u,i: tf.scatter_nd(i,u,[1000,1000]),F(100000),R.randint(0,1000,(100000,2)).astype(np.int32))
case('tensor_scatter',lambda x,u,i: tf.tensor_scatter_nd_update(x,i,u),big,F(10000),R.randint(0,1000,(10000,2)).astype(np.int32))
case('tile',lambda x: tf.tile(x,[4,4]),F(300,300))
case('pad_img',lambda x: tf.pad(x,[[0,0],[1,1],[1,1],[0,0]]),img)
case('mirror_pad',lambda x: tf.pad(x,[[0,0],[3,3],[3,3],[0,0]],mode='REFLECT'),img)
case('concat_last',lambda x,y: tf.concat([x,y],-1),img,img)
case('concat_first',lambda x,y: tf.concat([x,y],0),img,img)
case('slice',lambda x: x[:,10:100,5:120,3:20],img)
case('stride_slice',lambda x: x[:,::2,::2,:],img)
case('reverse',lambda x: tf.reverse(x,[1]),img)
case('roll',lambda x: tf.roll(x,5,1),big)
case('stack',lambda x,y: tf.stack([x,y],-1),big,big)
case('unstack_sum',lambda x: tf.add_n(tf.unstack(x,axis=1)),F(100,10,1000))
case('split',lambda x: tf.concat(tf.split(x,4,-1)[::-1],-1),img)
case('matmul_tt',lambda x,y: tf.matmul(x,y,transpose_b=True),F(256,512),F(256,512))
case('matmul_dyn',lambda x,y: tf.matmul(x,y),F(256,512),F(512,512))
case('matmul_f64',lambda x,y: tf.matmul(x,y),R.randn(256,256),R.randn(256,256))
case('matmul_i32',lambda x,y: tf.matmul(x,y),R.randint(0,9,(128,128)).astype(np.int32),R.randint(0,9,(128,128)).astype(np.int32))
case('matmul_f16',lambda x,y: tf.matmul(x,y),F(128,256).astype(np.float16),F(256,128).astype(np.float16))
case('matmul_bf16',lambda x,y: tf.cast(tf.matmul(tf.cast(x,tf.bfloat16),tf.cast(y,tf.bfloat16)),tf.float32),F(128,256),F(256,128))
case('bmm',lambda x,y: tf.matmul(x,y),F(64,64,64),F(64,64,64))
case('bmm_small',lambda x,y: tf.matmul(x,y),F(5000,4,4),F(5000,4,4))
case('bmm_bcast',lambda x,y: tf.matmul(x,y),F(64,64,64),F(64,64))
case('einsum_bij',lambda x,y: tf.einsum('bij,bjk->bik',x,y),F(32,64,64),F(32,64,64))
case('einsum_bhqd',lambda x,y: tf.einsum('bqhd,bkhd->bhqk',x,y),F(2,64,8,64),F(2,64,8,64))
case('einsum_outer',lambda x,y: tf.einsum('i,j->ij',x,y),F(1000),F(1000))
case('conv3d',lambda x: tf.nn.conv3d(x,k(F(3,3,3,16,16)),[1]*5,'SAME'),F(1,16,32,32,16))
case('conv3d_s2',lambda x: tf.nn.conv3d(x,k(F(3,3,3,16,32)),[1,2,2,2,1],'SAME'),F(1,16,32,32,16))
case('maxpool3d',lambda x: tf.nn.max_pool3d(x,2,2,'SAME'),F(1,16,64,64,16))
case('avgpool',lambda x: tf.nn.avg_pool2d(x,3,1,'SAME'),img)
case('maxpool_s1',lambda x: tf.nn.max_pool2d(x,3,1,'SAME'),img)
case('maxpool_s2',lambda x: tf.nn.max_pool2d(x,2,2,'SAME'),img)
case('lrn',lambda x: tf.nn.local_response_normalization(x),img)
case('conv_dil',lambda x: tf.nn.conv2d(x,k(F(3,3,32,32)),1,'SAME',dilations=2),img)
case('conv_dil_stb',lambda x: tf.nn.atrous_conv2d(x,k(F(3,3,32,32)),2,'SAME'),img)
case('conv_group',lambda x: tf.nn.conv2d(x,k(F(3,3,8,32)),1,'SAME'),img)
case('conv_1ch',lambda x: tf.nn.conv2d(x,k(F(3,3,1,32)),1,'SAME'),F(8,128,128,1))
case('conv_to1',lambda x: tf.nn.conv2d(x,k(F(3,3,32,1)),1,'SAME'),img)
case('conv_7x7s2',lambda x: tf.nn.conv2d(x,k(F(7,7,3,64)),2,'SAME'),F(1,224,224,3))
case('conv_5x5',lambda x: tf.nn.conv2d(x,k(F(5,5,32,32)),1,'SAME'),img)
case('conv_dyn',lambda x,w: tf.nn.conv2d(x,w,1,'SAME'),img,F(3,3,32,32))
case('dw_mult2',lambda x: tf.nn.depthwise_conv2d(x,k(F(3,3,32,2)),[1]*4,'SAME'),img)
case('dw_7x7',lambda x: tf.nn.depthwise_conv2d(x,k(F(7,7,32,1)),[1]*4,'SAME'),img)
case('dw_dil',lambda x: tf.nn.depthwise_conv2d(x,k(F(3,3,32,1)),[1]*4,'SAME',dilations=[2,2]),img)
case('separable',lambda x: tf.nn.separable_conv2d(x,k(F(3,3,32,1)),k(F(1,1,32,64)),[1]*4,'SAME'),img)
case('conv_t_s2',lambda x: tf.nn.conv2d_transpose(x,k(F(4,4,16,32)),[4,256,256,16],2,'SAME'),img)
case('conv_t_dyn',lambda x,w: tf.nn.conv2d_transpose(x,w,[4,256,256,16],2,'SAME'),img,F(4,4,16,32))
case('conv3d_t',lambda x: tf.nn.conv3d_transpose(x,k(F(3,3,3,16,16)),[1,16,32,32,16],2,'SAME'),F(1,8,16,16,16))
case('conv1d',lambda x: tf.nn.conv1d(x,k(F(5,64,64)),1,'SAME'),F(4,512,64))
case('conv1d_dil',lambda x: tf.nn.conv1d(x,k(F(3,64,64)),1,'SAME',dilations=4),F(4,512,64))
case('resize_bicubic',lambda x: tf.image.resize(x,[256,256],'bicubic'),F(4,128,128,3))
case('resize_area',lambda x: tf.image.resize(x,[64,64],'area'),F(4,224,224,3))
case('resize_bil_u8',lambda x: tf.image.resize(x,[224,224]),R.randint(0,255,(4,300,300,3)).astype(np.uint8))
case('resize_aa',lambda x: tf.image.resize(x,[100,100],antialias=True),F(4,224,224,3))
case('resize_lanczos',lambda x: tf.image.resize(x,[100,100],'lanczos3'),F(4,224,224,3))
case('resize_near',lambda x: tf.image.resize(x,[256,256],'nearest'),F(4,128,128,3))
case('crop_resize',lambda x: tf.image.crop_and_resize(x,k(np.array([[0,0,1,1],[.1,.1,.8,.9]]*8,np.float32)),k(np.zeros(16,np.int32)),[64,64]),img)
case('rgb_hsv',lambda x: tf.image.rgb_to_hsv(x),R.rand(4,128,128,3).astype(np.float32))
case('grayscale',lambda x: tf.image.rgb_to_grayscale(x),R.rand(4,224,224,3).astype(np.float32))
case('std_img',lambda x: tf.image.per_image_standardization(x),F(4,224,224,3))
case('adjust_contrast',lambda x: tf.image.adjust_contrast(x,1.5),F(4,224,224,3))
case('flip_lr',lambda x: tf.image.flip_left_right(x),img)
case('softmax',lambda x: tf.nn.softmax(x),big)
case('softmax_axis1',lambda x: tf.nn.softmax(x,1),F(10,1000,100))
case('log_softmax',lambda x: tf.nn.log_softmax(x),big)
case('layernorm',lambda x: tf.nn.batch_normalization(x,*tf.nn.moments(x,[-1],keepdims=True),None,None,1e-5),big)
case('groupnorm',lambda x: tf.reshape((lambda y:(y-tf.reduce_mean(y,[1,2,4],keepdims=True))*tf.math.rsqrt(tf.math.reduce_variance(y,[1,2,4],keepdims=True)+1e-5))(tf.reshape(x,[4,128,128,8,4])),[4,128,128,32]),img)
case('instnorm',lambda x: (x-tf.reduce_mean(x,[1,2],keepdims=True))*tf.math.rsqrt(tf.math.reduce_variance(x,[1,2],keepdims=True)+1e-5),img)
case('l2norm',lambda x: tf.math.l2_normalize(x,-1),big)
case('gelu',lambda x: tf.nn.gelu(x),big)
case('mish',lambda x: x*tf.tanh(tf.nn.softplus(x)),big)
case('elu',lambda x: tf.nn.elu(x),big)
case('selu',lambda x: tf.nn.selu(x),big)
case('leaky',lambda x: tf.nn.leaky_relu(x,0.2),big)
case('softsign',lambda x: tf.nn.softsign(x),big)
case('hswish',lambda x: x*tf.nn.relu6(x+3)/6,big)
case('prelu',lambda x: tf.nn.relu(x)+k(F(1000))*(x-tf.abs(x))*0.5,big)
case('pow',lambda x: tf.pow(tf.abs(x),1.7),big)
case('sin',lambda x: tf.sin(x),big)
case('cos',lambda x: tf.cos(x),big)
case('log1p',lambda x: tf.math.log1p(tf.abs(x)),big)
case('atan2',lambda x,y: tf.atan2(x,y),big,big)
case('floor_mod',lambda x: tf.math.floormod(x,0.7),big)
case('round',lambda x: tf.round(x),big)
case('sqrt_f64',lambda x: tf.sqrt(tf.abs(x)),R.randn(500,500))
case('exp_f64',lambda x: tf.exp(x),R.randn(500,500))
case('tanh_f16',lambda x: tf.tanh(x),F(500,500).astype(np.float16))
case('mul_i32',lambda x: x*x+3,ints)
case('div_i32',lambda x: x//7,ints)
case('mod_i32',lambda x: x%7,ints)
case('add_bcast_row',lambda x,y: x+y,big,F(1000))
case('add_bcast_col',lambda x,y: x+y,big,F(1000,1))
case('add_bcast_mid',lambda x,y: x+y,F(50,100,200),F(50,1,200))
case('pairwise',lambda x,y: tf.reduce_sum(tf.square(x[:,None,:]-y[None,:,:]),-1),F(200,64),F(200,64))
case('logical',lambda x: tf.logical_and(x>0,x<1),big)
case('equal_i32',lambda x: tf.equal(x,5),ints)
case('clip',lambda x: tf.clip_by_value(x,-1,1),big)
case('segment_sum',lambda x: tf.math.segment_sum(x,k(np.sort(R.randint(0,100,1000)).astype(np.int32))),big)
case('unsorted_seg',lambda x: tf.math.unsorted_segment_sum(x,k(R.randint(0,100,1000).astype(np.int32)),100),big)
case('unsorted_max',lambda x: tf.math.unsorted_segment_max(x,k(R.randint(0,100,1000).astype(np.int32)),100),big)
case('unique',lambda x: tf.unique(x)[0],ints)
case('bincount',lambda x: tf.math.bincount(x,minlength=1000,maxlength=1000),ints)
case('hist',lambda x: tf.histogram_fixed_width(x,[-3.,3.],100),vec)
case('searchsorted',lambda x: tf.searchsorted(k(np.sort(F(1000))),x),vec[:100000])
case('bucketize',lambda x: tf.raw_ops.Bucketize(input=x,boundaries=list(np.linspace(-2,2,50))),vec)
case('depth_to_space',lambda x: tf.nn.depth_to_space(x,2),img)
case('space_to_depth',lambda x: tf.nn.space_to_depth(x,2),img)
case('patches',lambda x: tf.image.extract_patches(x,[1,3,3,1],[1,1,1,1],[1,1,1,1],'SAME'),F(1,64,64,16))
case('patches16',lambda x: tf.image.extract_patches(x,[1,16,16,1],[1,16,16,1],[1,1,1,1],'VALID'),F(4,224,224,3))
case('dilation2d',lambda x: tf.nn.dilation2d(x,k(F(3,3,32)),[1,1,1,1],'SAME','NHWC',[1,1,1,1]),img)
case('fft',lambda x: tf.abs(tf.signal.rfft(x)),F(200,1024))
case('stft',lambda x: tf.abs(tf.signal.stft(x,400,160,512)),F(4,16000))
case('mfcc',lambda x: tf.signal.mfccs_from_log_mel_spectrograms(tf.math.log(tf.matmul(tf.abs(tf.signal.stft(x,400,160,512)),k(np.abs(F(257,40))))+1e-6)),F(4,16000))
case('cholesky',lambda x: tf.linalg.cholesky(x),(lambda a:(a@a.T+100*np.eye(100)).astype(np.float32))(F(100,100)))
case('inverse',lambda x: tf.linalg.inv(x),F(100,100)+10*np.eye(100,dtype=np.float32))
case('solve',lambda x,y: tf.linalg.solve(x,y),F(100,100)+10*np.eye(100,dtype=np.float32),F(100,10))
case('svd',lambda x: tf.linalg.svd(x,compute_uv=False),F(60,60))
case('det',lambda x: tf.linalg.det(x),F(100,10,10))
case('eigh',lambda x: tf.linalg.eigh(x)[0],(lambda a:(a+a.T).astype(np.float32))(F(60,60)))
case('band_part',lambda x: tf.linalg.band_part(x,-1,0),big)
case('diag_part',lambda x: tf.linalg.diag_part(x),F(100,100,100))
case('sparse_dense',lambda x: tf.sparse.sparse_dense_matmul(tf.SparseTensor(k(np.stack([np.sort(R.randint(0,1000,20000)),R.randint(0,1000,20000)],1).astype(np.int64)),k(F(20000)),[1000,1000]),x),F(1000,64))
case('map_fn',lambda x: tf.map_fn(lambda r: tf.reduce_sum(r*r),x),F(500,100))
case('scan',lambda x: tf.scan(lambda a,r: a*0.9+r,x),F(500,100))
case('while',lambda x: tf.while_loop(lambda i,a: i<500,lambda i,a:(i+1,a*1.01+0.1),[0,x])[1],F(100))
case('ta_loop',lambda x: tf.foldl(lambda a,r: tf.maximum(a,r),x),F(500,100))
S=np.array([b'hello world this is text number %d'%i for i in range(2000)])
case('str_split',lambda s: tf.strings.split(s).values,S)
case('str_lower_re',lambda s: tf.strings.regex_replace(tf.strings.lower(s),'[^a-z ]',''),S)
case('str_hash',lambda s: tf.strings.to_hash_bucket_fast(s,1000),S)
case('str_len',lambda s: tf.strings.length(s),S)
case('str_substr',lambda s: tf.strings.substr(s,2,5),S)
case('str_join',lambda s: tf.strings.join([s,s],' '),S)
case('str_num',lambda s: tf.strings.to_number(tf.strings.regex_replace(s,'[^0-9]','')),S)
case('as_string',lambda x: tf.strings.as_string(x),vec[:5000])
case('ngrams',lambda s: tf.strings.ngrams(tf.strings.split(s),2).values,S)
case('unicode',lambda s: tf.strings.unicode_decode(s,'UTF-8').values,S)
case('reduce_join',lambda s: tf.strings.reduce_join(tf.reshape(s,[200,10]),1,separator=','),S)


def named(fn):
    return lambda *values: {"y": fn(*values)}


def spec(i, value):
    dtype = tf.string if value.dtype.kind in "SO" else tf.as_dtype(value.dtype)
    return tf.TensorSpec(value.shape, dtype, name=f"x{i}")


def time_tensorflow(path, args):
    run = tf.saved_model.load(path).signatures["serving_default"]
    inputs = {f"x{i}": tf.constant(value) for i, value in enumerate(args)}
    run(**inputs)
    times, end = [], time.time() + 0.4
    while time.time() < end or len(times) < 3:
        begin = time.perf_counter()
        run(**inputs)
        times.append(time.perf_counter() - begin)
    return min(times) * 1e6


def time_savedmodel(cli, path, args):
    command = [cli, "bench", path, "--threads", "1", "--runs", "60", "--warmup", "3", "--json"]
    if args[0].dtype.kind in "SO":
        texts = ",".join("'" + text.decode() + "'" for text in args[0])
        command += ["--input_exprs", f"x0=[{texts}]"]
    else:
        files = []
        for i, value in enumerate(args):
            np.save(f"{path}/x{i}.npy", value)
            files.append(f"x{i}={path}/x{i}.npy")
        command += ["--inputs", ";".join(files)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)["min_ms"] * 1000


def main():
    cli, names = sys.argv[1], sys.argv[2:]
    with tempfile.TemporaryDirectory() as folder:
        for name, (fn, args) in C.items():
            if names and not any(part in name for part in names):
                continue
            signature = [spec(i, value) for i, value in enumerate(args)]
            model = tf.Module()
            model.f = tf.function(named(fn), input_signature=signature)
            path = f"{folder}/{name}"
            tf.saved_model.save(model, path, signatures=model.f.get_concrete_function())
            theirs, ours = time_tensorflow(path, args), time_savedmodel(cli, path, args)
            print(f"{name:18} tensorflow {theirs:9.1f} savedmodel {ours:9.1f} ratio {ours / theirs:.2f}",
                  flush=True)


if __name__ == "__main__":
    main()
